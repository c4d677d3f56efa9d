/** How much memory a Postgres backup or restore takes above the idle process. */
import { fileURLToPath } from 'node:url'
import { type BenchResult, type BenchRow, interleaved } from '../bench.ts'
import { filledSchema, run, withServer } from '../postgres.ts'
import { withDirectory } from '../store.ts'

const CHILD = fileURLToPath(new URL('../postgres-memory-child.js', import.meta.url))
const TARGET_MIB = 128
/** How much more the larger schema may take and still count as flat. */
const FLAT = 1.15

export const postgresMemoryRow: BenchRow = {
  name: 'postgres-memory',
  run: ({ directory, entries, rounds }) =>
    withServer(async (server) => {
      const schemas = { small: await filledSchema(server, entries), large: await filledSchema(server, entries * 4) }
      const results: BenchResult[] = []
      for (const task of ['backup', 'restore'] as const) {
        const peakMib = (schema: string) => (): Promise<number> =>
          withDirectory(directory, async (path) => Number((await run(process.execPath, ['--expose-gc', CHILD, task, server.url, schema, path])).stdout))
        const peaks = await interleaved(rounds, { small: peakMib(schemas.small), large: peakMib(schemas.large) })
        for (const [size, peak] of [[entries, peaks.small], [entries * 4, peaks.large]] as const) {
          const name = `postgres: memory above the idle process, ${task} of ${size.toLocaleString('en')} inodes`
          results.push({ name, measured: peak, reference: undefined, unit: 'MiB', ratio: peak, target: { atMost: TARGET_MIB } })
        }
        const name = `postgres: memory of a ${task} of 4 times the rows / of the plain number`
        results.push({ name, measured: peaks.large, reference: peaks.small, unit: 'MiB', ratio: peaks.large / peaks.small, target: { atMost: FLAT } })
      }
      return results
    }),
}
