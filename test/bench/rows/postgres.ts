/** Postgres backups and restores against psql, pg_dump and pg_restore with the same tables. */
import { join } from 'node:path'
import { type BenchContext, type BenchResult, type BenchRow, compared, interleaved, secondsOf } from '../bench.ts'
import { type BenchServer, TABLES, emptySchema, filledSchema, hasTool, run, schemaBackupable, withServer } from '../postgres.ts'
import { backupToFs, withDirectory } from '../store.ts'

export const postgresRow: BenchRow = {
  name: 'postgres',
  run: (context) => withServer(async (server) => [...(await backups(server, context)), ...(await restores(server, context))]),
}

async function backups(server: BenchServer, { directory, entries, rounds }: BenchContext): Promise<BenchResult[]> {
  const schema = await filledSchema(server, entries)
  const perSecond = (seconds: number): number => (entries * TABLES.length) / seconds
  const copy = TABLES.flatMap((table) => ['-c', `\\copy ${schema}.${table} TO /dev/null (FORMAT binary)`])
  const withDump = await hasTool('pg_dump', server)
  if (!(await hasTool('psql', server))) return []
  const rates = await interleaved(rounds, {
    backup: async () => perSecond(await withDirectory(directory, (path) => secondsOf(() => backupToFs(schemaBackupable(server.pool, schema, { pace: 'full' }), path)))),
    copy: async () => perSecond(await secondsOf(() => run('psql', ['-q', '-d', server.url, ...copy]))),
    dump: async () => (withDump ? perSecond(await withDirectory(directory, (path) => secondsOf(() => dump(server, schema, join(path, 'dump'))))) : NaN),
  })
  const unit = 'rows/s'
  return [
    compared('postgres: backup to fs, full pace / psql \\copy binary to /dev/null', { measured: rates.backup, reference: rates.copy, unit }, { atLeast: 1 }),
    ...(withDump ? [compared('postgres: backup to fs, full pace / pg_dump -Fc -Z0', { measured: rates.backup, reference: rates.dump, unit }, { atLeast: 1.5 })] : []),
  ]
}

async function restores(server: BenchServer, { directory, entries, rounds }: BenchContext): Promise<BenchResult[]> {
  if (!(await hasTool('pg_dump', server)) || !(await hasTool('pg_restore', server))) return []
  const schema = await filledSchema(server, entries)
  const perSecond = (seconds: number): number => (entries * TABLES.length) / seconds
  return await withDirectory(directory, async (path) => {
    const archive = join(path, 'dump')
    await dump(server, schema, archive)
    const { destination, backupId } = await backupToFs(schemaBackupable(server.pool, schema, { pace: 'full' }), path)
    // pg_restore knows no other name for a schema: each of them restores into the schema of this name.
    const aside = `${schema}_aside`
    await server.pool.query(`ALTER SCHEMA ${schema} RENAME TO ${aside}`)
    const rates = await interleaved(rounds, {
      restore: async () => {
        await emptySchema(server.pool, schema)
        return perSecond(await secondsOf(() => schemaBackupable(server.pool, schema).restore(destination.open(backupId, 'payload'))))
      },
      pgRestore: async () => {
        await server.pool.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`)
        return perSecond(await secondsOf(() => run('pg_restore', ['-d', server.url, archive])))
      },
    })
    await server.pool.query(`DROP SCHEMA ${schema} CASCADE`)
    await server.pool.query(`ALTER SCHEMA ${aside} RENAME TO ${schema}`)
    const values = { measured: rates.restore, reference: rates.pgRestore, unit: 'rows/s' }
    return [compared('postgres: restore, checked / pg_restore, indexes and checks included', values, { atLeast: 1.2 })]
  })
}

async function dump(server: BenchServer, schema: string, file: string): Promise<void> {
  await run('pg_dump', ['-Fc', '-Z0', '-n', schema, '-f', file, server.url])
}
