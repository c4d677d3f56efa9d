#!/usr/bin/env node
/** The process around the command line: signals, closed pipes, and the exit code. */
import process from 'node:process'
import { isSystemError } from '../util/files.ts'
import { Interrupted } from './interrupt.ts'
import { runCommandLine } from './program.ts'

const interrupts = new AbortController()

for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    const reason = new Interrupted(name)
    if (interrupts.signal.aborted) process.exit(reason.exitCode)
    interrupts.abort(reason)
  })
}

// A reader may close the pipe early (`holdfast ls latest | head`); the command itself still runs to its end.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error) => {
    if (!isSystemError(error, 'EPIPE', 'ECONNRESET')) process.exitCode = 1
  })
}

// The SDK warns that its later versions need a later Node; an operator can do nothing about that.
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true'

const { stdin, stdout, stderr, env } = process
process.exitCode = await runCommandLine(process.argv.slice(2), { stdin, stdout, stderr, env, signal: interrupts.signal })
