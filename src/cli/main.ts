#!/usr/bin/env node
/** The process around the command line: signals, closed pipes, and the exit code. */
import { closeSync } from 'node:fs'
import process from 'node:process'
import { isatty } from 'node:tty'
import { isHoldfastError } from '../index.ts'
import { isSystemError } from '../util/files.ts'
import { asHoldfastError } from '../util/system-errors.ts'
import { EXIT } from './exit-codes.ts'
import { Interrupted } from './interrupt.ts'
import { runCommandLine } from './program.ts'
import { reportError } from './report-error.ts'
import { printable } from '../util/text.ts'

// LevelDB makes its files with what the umask leaves: all that the command line makes is private, and usable under any umask.
process.umask(0o077)

const interrupts = new AbortController()
// `nohup` has a process ignore SIGHUP, which Node forgets, and leaves no standard stream on the terminal.
const terminals = [0, 1, 2].filter((fd) => isatty(fd))

for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => {
    // The kernel and the shell both hang up.
    if (name === 'SIGHUP' && (terminals.length === 0 || interrupts.signal.aborted)) return
    const reason = new Interrupted(name)
    if (interrupts.signal.aborted) process.exit(reason.exitCode)
    interrupts.abort(reason)
  })
}

// A reader may close the pipe early (`holdfast ls latest | head`); the command itself still runs to its end.
let isOutputLost = false
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error) => {
    if (isSystemError(error, 'EPIPE', 'ECONNRESET')) return
    isOutputLost = true
    if (stream === process.stdout) void reportError(terminal, asHoldfastError(error, 'write to the standard output'), { json: false })
  })
}
process.on('exit', () => {
  // Node sets its terminals back at the very end, and aborts at one that has gone, unless that was closed.
  for (const fd of terminals) {
    try {
      if (!isatty(fd)) closeSync(fd)
    } catch {
      // It was closed already.
    }
  }
  if (isOutputLost && process.exitCode === EXIT.done) process.exitCode = EXIT.failed
})

// The SDK warns that its later versions need a later Node; an operator can do nothing about that.
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ||= 'true'

// A store that was opened tells what it could not clean up as a warning of the process.
const [printWarning] = process.listeners('warning')
process.removeAllListeners('warning').on('warning', (warning) => {
  if (isHoldfastError(warning)) process.stderr.write(`warning: ${printable(warning.message)}\n`)
  else printWarning?.(warning)
})

const { stdin, stdout, stderr, env } = process
const terminal = { stdin, stdout, stderr, env, signal: interrupts.signal }
process.exitCode = await runCommandLine(process.argv.slice(2), terminal)
