/** Queries of the server's own process while a Postgres backup runs, from its first step to its last, against the same without. */
import { setTimeout as delay } from 'node:timers/promises'
import { type BenchRow, compared, interleaved, percentile } from '../bench.ts'
import { type BenchServer, filledSchema, schemaBackupable, withServer } from '../postgres.ts'
import { backupToFs, withDirectory } from '../store.ts'

const QUIET_MS = 4000

export const postgresForegroundRow: BenchRow = {
  name: 'postgres-foreground',
  run: ({ directory, entries, rounds }) =>
    withServer(async (server) => {
      const schema = await filledSchema(server, entries)
      const latencies = { quiet: [] as number[], busy: [] as number[] }
      const options = { schema, entries }
      await interleaved(rounds, {
        quiet: () => serve(server, { ...options, latenciesMs: latencies.quiet, until: delay(QUIET_MS) }),
        busy: () =>
          withDirectory(directory, (path) => {
            const backup = backupToFs(schemaBackupable(server.pool, schema, { isCounted: true }), path)
            return serve(server, { ...options, latenciesMs: latencies.busy, until: backup })
          }),
      })
      const measured = percentile(Float64Array.from(latencies.busy), 0.99)
      const reference = percentile(Float64Array.from(latencies.quiet), 0.99)
      return [compared('postgres: foreground p99 latency during a backup / without', { measured, reference, unit: 'ms' }, { atMost: 1.5 })]
    }),
}

interface ServeOptions {
  readonly schema: string
  readonly entries: number
  /** Takes how long each query took. */
  readonly latenciesMs: number[]
  readonly until: Promise<unknown>
}

/** One write and one read after another; gives queries per second. */
async function serve({ pool }: BenchServer, { schema, entries, latenciesMs, until }: ServeOptions): Promise<number> {
  const window = { isOver: false }
  const over = until.finally(() => {
    window.isOver = true
  })
  const startMs = performance.now()
  let count = 0
  for (let nowMs = startMs; !window.isOver; count++) {
    const id = 1 + ((count * 7919) % entries)
    if (count % 2 === 0) await pool.query(`UPDATE ${schema}.inodes SET version = version + 1 WHERE id = $1`, [id])
    else await pool.query(`SELECT * FROM ${schema}.entries JOIN ${schema}.inodes ON id = inode WHERE inode = $1`, [id])
    const doneMs = performance.now()
    latenciesMs.push(doneMs - nowMs)
    nowMs = doneMs
  }
  await over
  return (count * 1000) / (performance.now() - startMs)
}
