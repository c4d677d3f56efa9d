/**
 * Backs a schema up (or restores a backup of it into a fresh one) and prints by how many MiB the resident memory of the process rose at most.
 * Arguments: backup|restore, URL, schema, an empty directory.
 */
import { Pool } from 'pg'
import { emptySchema, schemaBackupable } from './postgres.ts'
import { riseMib } from './resident.ts'
import { backupToFs } from './store.ts'

const [task, url = '', schema = '', scratch = ''] = process.argv.slice(2)
const pool = new Pool({ connectionString: url, max: 4 })
await pool.query('SELECT 1')

if (task === 'backup') {
  report(await riseMib(() => backupToFs(schemaBackupable(pool, schema, { pace: 'full' }), scratch)))
} else {
  const { destination, backupId } = await backupToFs(schemaBackupable(pool, schema, { pace: 'full' }), scratch)
  const target = `bench_target_${process.pid}`
  await emptySchema(pool, target)
  report(await riseMib(() => schemaBackupable(pool, target).restore(destination.open(backupId, 'payload'))))
  await pool.query(`DROP SCHEMA ${target} CASCADE`)
}
await pool.end()

function report(mib: number): void {
  process.stdout.write(`${mib}\n`)
}
