/**
 * Backs a schema up (or restores a backup of it into a fresh one) and prints by how many MiB the resident memory of the process rose at most.
 * Arguments: backup|restore, URL, schema, an empty directory.
 */
import { readFileSync } from 'node:fs'
import { Pool } from 'pg'
import { emptySchema, schemaBackupable } from './postgres.ts'
import { backupToFs } from './store.ts'

const [task, url = '', schema = '', scratch = ''] = process.argv.slice(2)
const pool = new Pool({ connectionString: url, max: 4 })
await pool.query('SELECT 1')

if (task === 'backup') {
  report(await rise(() => backupToFs(schemaBackupable(pool, schema), scratch)))
} else {
  const { destination, backupId } = await backupToFs(schemaBackupable(pool, schema), scratch)
  const target = `bench_target_${process.pid}`
  await emptySchema(pool, target)
  report(await rise(() => schemaBackupable(pool, target).restore(destination.open(backupId, 'payload'))))
  await pool.query(`DROP SCHEMA ${target} CASCADE`)
}
await pool.end()

async function rise(run: () => Promise<unknown>): Promise<number> {
  globalThis.gc?.()
  const before = residentMib()
  let peak = before
  const timer = setInterval(() => {
    peak = Math.max(peak, residentMib())
  }, 5)
  await run()
  clearInterval(timer)
  return Math.max(peak, residentMib()) - before
}

function residentMib(): number {
  const status = readFileSync('/proc/self/status', 'latin1')
  return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1] ?? process.memoryUsage.rss() / 1024) / 1024
}

function report(mib: number): void {
  process.stdout.write(`${mib}\n`)
}
