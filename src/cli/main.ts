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

// A reader that went away (`holdfast ls latest | head`) wants no more; the command itself goes on to its end.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error) => {
    if (!isSystemError(error, 'EPIPE', 'ECONNRESET')) process.exitCode = 1
  })
}

// That a later version of the SDK will need a later Node is for its maintainers to know, not for those who run a command.
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true'

const { stdin, stdout, stderr, env } = process
process.exitCode = await runCommandLine(process.argv.slice(2), { stdin, stdout, stderr, env, signal: interrupts.signal })
