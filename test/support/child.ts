/** Child processes that are killed, and never left behind. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { setImmediate } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

export interface Child {
  /** The next line that it prints; rejects with what it wrote to stderr when it ends before. */
  line(): Promise<string>
  /** Resolves when it has ended, with its exit code or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>
  /** Resolves when it has stopped itself by SIGSTOP; rejects when it ends instead. Linux only. */
  frozen(): Promise<void>
  /** SIGCONT. */
  thaw(): void
}

/** Starts a script of `dist` with this Node. */
export function startChild(script: URL, args: readonly string[], options: { readonly env?: Readonly<Record<string, string>> | undefined } = {}): Child {
  const child: ChildProcess = spawn(process.execPath, [fileURLToPath(script), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
  })
  let errors = ''
  child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]()
  const ended = once(child, 'close').then(([code, signal]) => (signal ?? code) as number | NodeJS.Signals)
  return {
    ended,
    async line() {
      const { done, value } = await lines.next()
      if (done === true) throw new Error(`The child ended with ${await ended}: ${errors}`)
      return value
    },
    async kill() {
      child.kill('SIGKILL')
      await ended
    },
    async frozen() {
      while (child.exitCode === null && child.signalCode === null) {
        // The state comes after the name, which is in parentheses.
        if (/\) T /.test(await readFile(`/proc/${child.pid}/stat`, 'utf8').catch(() => ''))) return
        await setImmediate()
      }
      throw new Error(`The child ended with ${await ended} and did not stop: ${errors}`)
    },
    thaw: () => void child.kill('SIGCONT'),
  }
}
