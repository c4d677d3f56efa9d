/** The tests' own S3 server in a child process, so that its work is not that of what is measured. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { S3Access } from '../support/s3/client.ts'

export const BENCH_BUCKET = 'bench'
export const BENCH_PREFIX = 'backups'

export interface BenchServer extends S3Access {
  /** Sends a command of the child's; resolves with its answer. */
  readonly ask: (command: string) => Promise<string>
}

/** Runs a task with a fresh server, and ends that. */
export async function withBenchServer<T>(task: (server: BenchServer) => Promise<T>): Promise<T> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('./s3-server-child.js', import.meta.url))], { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const line = async (): Promise<string> => {
    const { done, value } = await lines.next()
    if (done === true) throw new Error('The S3 server has ended')
    return value
  }
  try {
    const access = JSON.parse(await line()) as S3Access
    return await task({
      ...access,
      async ask(command) {
        child.stdin.write(`${command}\n`)
        return await line()
      },
    })
  } finally {
    child.stdin.end()
    child.kill()
    await once(child, 'close')
  }
}
