/** What a restore does to the tables that it fills, beside filling them. */
import { expect, onTestFinished, test } from 'vitest'
import { Pool } from 'pg'
import { postgresBackupable } from '../../../src/stores/postgres/snapshot/postgres-backupable.ts'
import { restoreBytes, snapshotOf } from '../../conformance/backupable-fixture.ts'
import { describeSchema, inSchema, newSchema, quote, sharedPool } from './schemas.ts'
import { serverUrl } from './server.ts'

const OPTIONS = { payloadIds: 'SELECT NULL::text WHERE false', schemaVersion: 1, worker: false } as const

async function schemaOf(tables: string): Promise<string> {
  const { schema, drop } = await newSchema(await sharedPool(), tables)
  onTestFinished(drop)
  return schema
}

/** A snapshot of these tables with these rows. */
async function snapshotWith(tables: string, rows: string): Promise<Uint8Array> {
  const [pool, schema] = [await sharedPool(), await schemaOf(tables)]
  await inSchema(pool, schema, (client) => client.query(rows))
  return (await snapshotOf(postgresBackupable(pool, { ...OPTIONS, schema }))).bytes
}

async function statisticsOf(schema: string): Promise<unknown> {
  const { rows } = await (await sharedPool()).query(
    `SELECT pg_relation_size(oid)::int AS bytes, relallvisible AS visible, reltuples AS rows FROM pg_class WHERE relnamespace = $1::regnamespace AND relname = 't'`,
    [quote(schema)],
  )
  return rows[0]
}

const TABLE = 'CREATE TABLE t (id int PRIMARY KEY, name text)'
const ROWS = `INSERT INTO t VALUES (1, 'one')`

test('restore() into tables that had rows before leaves nothing of them, and rows that need no VACUUM', async () => {
  const [pool, schema, bytes] = [await sharedPool(), await schemaOf(TABLE), await snapshotWith(TABLE, ROWS)]
  await inSchema(pool, schema, (client) => client.query(`INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(1, 5000) i; DELETE FROM t`))
  await restoreBytes(postgresBackupable(pool, { ...OPTIONS, schema }), bytes)
  expect(await statisticsOf(schema)).toEqual({ bytes: 8192, visible: 1, rows: 1 })
})

test('restore() into tables that others refer to fills them all the same', async () => {
  const [pool, schema, bytes] = [await sharedPool(), await schemaOf(TABLE), await snapshotWith(TABLE, ROWS)]
  const other = await schemaOf(`CREATE TABLE refers (id int REFERENCES ${quote(schema)}.t)`)
  await restoreBytes(postgresBackupable(pool, { ...OPTIONS, schema }), bytes)
  expect(await statisticsOf(schema)).toEqual({ bytes: 8192, visible: 0, rows: 1 })
  await inSchema(pool, other, (client) => client.query('INSERT INTO refers VALUES (1)'))
  await expect(inSchema(pool, other, (client) => client.query('INSERT INTO refers VALUES (2)'))).rejects.toMatchObject({ code: '23503' })
})

test('restore() makes indexes where they were, whatever tablespace is the default of the role', async () => {
  const pool = await sharedPool()
  const [space, usual] = ['space "', 'usual'].map((name) => `${name} ${Math.random().toString(36).slice(2)}`) as [string, string]
  for (const name of [space, usual]) {
    const client = await pool.connect()
    await client.query('SET allow_in_place_tablespaces = on')
    await client.query(`CREATE TABLESPACE ${quote(name)} LOCATION ''`)
    client.release(true)
    onTestFinished(async () => void (await pool.query(`DROP TABLESPACE ${quote(name)}`)))
  }
  const tables = `CREATE TABLE t (id int CONSTRAINT in_space PRIMARY KEY USING INDEX TABLESPACE ${quote(space)}, name text CONSTRAINT in_none UNIQUE);
    CREATE INDEX plain ON t (name) TABLESPACE ${quote(space)};
    CREATE INDEX elsewhere ON t (lower(name)) TABLESPACE ${quote(usual)};
    CREATE INDEX conditional ON t (id) TABLESPACE ${quote(space)} WHERE name <> ' WHERE (' AND (id > 1);
    CREATE INDEX at_home ON t (id, name)`
  const [schema, bytes] = [await schemaOf(tables), await snapshotWith(tables, ROWS)]
  const places = async (): Promise<readonly unknown[]> =>
    (await pool.query('SELECT indexname, tablespace FROM pg_indexes WHERE schemaname = $1 ORDER BY indexname', [schema])).rows
  const before = [await places(), await describeSchema(pool, schema)]
  const limited = new Pool({ connectionString: await serverUrl(), options: `-c default_tablespace=${usual.replaceAll(' ', '\\ ')}` })
  onTestFinished(() => limited.end())
  await restoreBytes(postgresBackupable(limited, { ...OPTIONS, schema }), bytes)
  expect([await places(), await describeSchema(pool, schema)]).toEqual(before)
  expect(await places()).toEqual([
    { indexname: 'at_home', tablespace: null },
    { indexname: 'conditional', tablespace: space },
    { indexname: 'elsewhere', tablespace: usual },
    { indexname: 'in_none', tablespace: null },
    { indexname: 'in_space', tablespace: space },
    { indexname: 'plain', tablespace: space },
  ])
})

test('restore() takes rows from before a constraint that not all rows need to pass, and leaves the constraint as it was', async () => {
  const pool = await sharedPool()
  const { rows } = await pool.query<{ version: number }>(`SELECT current_setting('server_version_num')::int AS version`)
  const constraints = [`CONSTRAINT positive CHECK (id > 0) NOT VALID`, ...((rows[0]?.version ?? 0) < 180_000 ? [] : ['CONSTRAINT named NOT NULL name NOT VALID'])]
  const tables = `CREATE TABLE t (id int, name text)`
  const adding = `ALTER TABLE t ${constraints.map((constraint) => `ADD ${constraint}`).join(', ')}`
  const bytes = await snapshotWith(tables, `INSERT INTO t VALUES (-1, NULL); ${adding}`)
  const schema = await schemaOf(`${tables}; ${adding}`)
  const before = await constraintsOf(schema)
  expect(before).toHaveLength(constraints.length)
  await restoreBytes(postgresBackupable(pool, { ...OPTIONS, schema }), bytes)
  expect((await pool.query(`SELECT * FROM ${quote(schema)}.t`)).rows).toEqual([{ id: -1, name: null }])
  expect(await constraintsOf(schema)).toEqual(before)
})

async function constraintsOf(schema: string): Promise<readonly unknown[]> {
  const { rows } = await (await sharedPool()).query('SELECT conname, pg_get_constraintdef(oid) AS text, convalidated FROM pg_constraint WHERE connamespace = $1::regnamespace ORDER BY 1', [quote(schema)])
  return rows
}
