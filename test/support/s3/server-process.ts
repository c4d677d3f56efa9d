/** The tests' S3 server in a process of its own, where its memory and time are not those of what is measured. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { S3Access } from './client.ts'
import type { S3ServerOptions } from './server.ts'
import type { RunningS3 } from './servers.ts'

/** Starts it from `dist`; it ends with this process, however that ends. */
export async function startS3Process(options: Pick<S3ServerOptions, 'region' | 'buckets' | 'behaviour'> = {}): Promise<RunningS3> {
  const script = new URL('dist/test/support/s3/server-main.js', pathToFileURL(`${process.cwd()}/`))
  const child = spawn(process.execPath, [fileURLToPath(script), JSON.stringify(options)], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'close')
  const [line] = (await Promise.race([once(createInterface({ input: child.stdout }), 'line'), ended])) as [unknown]
  if (typeof line !== 'string') throw new Error(`The S3 server ended with ${String(line)}`)
  return {
    ...(JSON.parse(line) as S3Access),
    stop: async () => {
      child.stdin.end()
      await ended
    },
  }
}
