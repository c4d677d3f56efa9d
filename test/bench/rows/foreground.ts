/** Reads and writes of the store's own process while a backup runs, against the same without. */
import type { ClassicLevel } from 'classic-level'
import { type BenchRow, compared, interleaved, percentile } from '../bench.ts'
import { entryOf, filledDatabase } from '../entries.ts'
import { backupToFs, entriesBackupable, withDatabase, withDirectory } from '../store.ts'

const WINDOW_MS = 4000

export const foregroundRow: BenchRow = {
  name: 'foreground',
  async run(context) {
    const { directory, entries, rounds } = context
    return await withDatabase(await filledDatabase(context, entries), async (db) => {
      const latencies = { quiet: [] as number[], busy: [] as number[] }
      const busy = async (): Promise<number> => {
        const window = { isOver: false }
        const backups = withDirectory(directory, async (path) => {
          while (!window.isOver) await backupToFs(entriesBackupable(db), path)
        })
        const rate = await serve(db, entries, latencies.busy)
        window.isOver = true
        await backups
        return rate
      }
      const rates = await interleaved(rounds, { quiet: () => serve(db, entries, latencies.quiet), busy })
      const p99 = {
        measured: percentile(Float64Array.from(latencies.busy), 0.99),
        reference: percentile(Float64Array.from(latencies.quiet), 0.99),
        unit: 'ms',
      }
      const throughput = { measured: rates.busy, reference: rates.quiet, unit: 'ops/s' }
      return [
        compared('foreground p99 latency during a backup / without', p99, { atMost: 1.5 }),
        compared('foreground throughput during a backup / without', throughput, { atLeast: 0.7 }),
      ]
    })
  },
}

/** One write and one read after another; gives operations per second. */
async function serve(db: ClassicLevel, entries: number, latenciesMs: number[]): Promise<number> {
  const startMs = performance.now()
  let count = 0
  for (let nowMs = startMs; nowMs < startMs + WINDOW_MS; count++) {
    const [key, value] = entryOf((count * 7919) % entries, 'ascending')
    if (count % 2 === 0) await db.put(key, value)
    else await db.get(key)
    const doneMs = performance.now()
    latenciesMs.push(doneMs - nowMs)
    nowMs = doneMs
  }
  return (count * 1000) / (performance.now() - startMs)
}
