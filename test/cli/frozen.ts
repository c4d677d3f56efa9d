/** The real command line, stopped at a step of its work. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { onTestFinished } from 'vitest'
import { MAIN, type Outcome } from './holdfast.ts'

const FREEZE = pathToFileURL(resolve(import.meta.dirname, '../../dist/test/cli/freeze.js')).href

export interface Frozen {
  /** Sends a signal, lets the command go on, and resolves with how it ended; the exit code of a killed process is `null`. */
  end(signal: NodeJS.Signals): Promise<Outcome>
}

export interface FreezeOptions {
  readonly cwd: string
  /** The paths that count. */
  readonly at: RegExp
  /** At which opening of such a path. @default 1 */
  readonly times?: number | undefined
}

/** Starts a command; resolves when it is stopped, about to open a path. Rejects when it ends before. */
export async function frozen(words: readonly string[], { cwd, at, times = 1 }: FreezeOptions): Promise<Frozen> {
  const child = spawn(process.execPath, ['--import', FREEZE, MAIN, ...words], {
    cwd,
    env: { ...process.env, FREEZE_AT: at.source, FREEZE_TIMES: String(times) },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const closed = once(child, 'close') as Promise<[number | null]>
  // The state comes after the name, which is in parentheses.
  while (!/\) T /.test(await readFile(`/proc/${child.pid}/stat`, 'utf8').catch(() => ''))) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`The command ended with ${child.exitCode} and was not stopped: ${stdout}${stderr}`)
    await setTimeout(2)
  }
  return {
    async end(signal) {
      child.kill(signal)
      child.kill('SIGCONT')
      const [code] = await closed
      return { code, stdout, stderr }
    },
  }
}
