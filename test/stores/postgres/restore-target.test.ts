/** What a restore does to the tables that it fills, beside filling them. */
import { expect, onTestFinished, test } from 'vitest'
import { Pool } from 'pg'
import { postgresBackupable } from '../../../src/stores/postgres/snapshot/postgres-backupable.ts'
import { refused, restoreBytes, snapshotOf } from '../../conformance/backupable-fixture.ts'
import { contentOf } from './made-schemas.ts'
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

const NEW_CHILDREN = 'CREATE TABLE child () INHERITS (t); CREATE TABLE grandchild () INHERITS (child)'

test.each([
  ['a domain', 'CREATE DOMAIN d AS int; CREATE TABLE t (d d)', 'INSERT INTO t VALUES (-1)', `ALTER DOMAIN d ADD CONSTRAINT "the check" CHECK (VALUE > 0) NOT VALID; COMMENT ON CONSTRAINT "the check" ON DOMAIN d IS 'old'`],
  ['a domain within others', 'CREATE DOMAIN d AS int; CREATE DOMAIN e AS d; CREATE TYPE p AS (e e[]); CREATE TABLE t (p p[])', 'INSERT INTO t VALUES (ARRAY[ROW(ARRAY[-1])]::p[])', 'ALTER DOMAIN d ADD CHECK (VALUE > 0) NOT VALID'],
  ['a table whose children are newer', 'CREATE TABLE t (n int)', 'INSERT INTO t VALUES (-1)', `ALTER TABLE t ADD CONSTRAINT c CHECK (n > 0) NOT VALID; ${NEW_CHILDREN}`],
  ['a table whose partitions are newer', 'CREATE TABLE t (n int) PARTITION BY RANGE (n); CREATE TABLE t_0 PARTITION OF t FOR VALUES FROM (MINVALUE) TO (0)', 'INSERT INTO t VALUES (-1)', 'ALTER TABLE t ADD CONSTRAINT c CHECK (n > 0) NOT VALID; CREATE TABLE t_1 PARTITION OF t DEFAULT'],
  ['a child and its parents', 'CREATE TABLE t (n int); CREATE TABLE u (n int); CREATE TABLE child () INHERITS (t, u)', 'INSERT INTO child VALUES (-1)', ['child', 't', 'u'].map((name) => `ALTER TABLE ${name} ADD CONSTRAINT c CHECK (n > 0) NOT VALID`).join('; ')],
])('restore() takes rows that a NOT VALID check of %s refuses, and leaves all as it was', async (_, tables, rows, checks) => {
  const pool = await sharedPool()
  const [source, schema] = [await schemaOf(tables), await schemaOf(`${tables}; ${checks}`)]
  await inSchema(pool, source, (client) => client.query(`${rows}; ${checks}`))
  const before = [await describeSchema(pool, schema), await inheritanceOf(schema)]
  await restoreBytes(postgresBackupable(pool, { ...OPTIONS, schema }), (await snapshotOf(postgresBackupable(pool, { ...OPTIONS, schema: source }))).bytes)
  expect(await contentOf({ pool, schema })).toBe(await contentOf({ pool, schema: source }))
  expect([await describeSchema(pool, schema), await inheritanceOf(schema)]).toEqual(before)
})

async function inheritanceOf(schema: string): Promise<readonly unknown[]> {
  const { rows } = await (await sharedPool()).query(
    'SELECT conrelid::regclass::text AS name, conname, conislocal, coninhcount FROM pg_constraint WHERE connamespace = $1::regnamespace ORDER BY 1, 2',
    [quote(schema)],
  )
  return rows
}

test('restore() checks rows by a function that looks at another table when both are filled, with children that have the check too', async () => {
  const pool = await sharedPool()
  const tables = `CREATE TABLE z (n int); CREATE FUNCTION is_known(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN EXISTS (SELECT FROM z WHERE n = $1); END $$;
    CREATE TABLE t (n int CHECK (is_known(n))); CREATE TABLE child () INHERITS (t)`
  const rows = 'INSERT INTO z VALUES (1); INSERT INTO t VALUES (1); INSERT INTO child VALUES (1)'
  const [schema, bytes] = [await schemaOf(tables), await snapshotWith(tables, rows)]
  const before = [await describeSchema(pool, schema), await inheritanceOf(schema)]
  await restoreBytes(postgresBackupable(pool, { ...OPTIONS, schema }), bytes)
  expect(await contentOf({ pool, schema })).toBe('child\n(1)\nt\n(1)\n(1)\nz\n(1)')
  expect([await describeSchema(pool, schema), await inheritanceOf(schema)]).toEqual(before)
  // And still checks: a snapshot of rows that do not pass is refused.
  const broken = await snapshotWith(tables, `${rows}; DELETE FROM z`)
  const fresh = postgresBackupable(pool, { ...OPTIONS, schema: await schemaOf(tables) })
  expect(await refused(restoreBytes(fresh, broken), 'schema_version_mismatch')).toMatchObject({ details: { constraint: 't_n_check' } })
})

test('restore() leaves a foreign key that is switched off as it is, and takes the rows that it would refuse', async () => {
  const pool = await sharedPool()
  const tables = 'CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE t (a int REFERENCES a); ALTER TABLE t DISABLE TRIGGER ALL'
  const [schema, bytes] = [await schemaOf(tables), await snapshotWith(tables, 'INSERT INTO t VALUES (1)')]
  await restoreBytes(postgresBackupable(pool, { ...OPTIONS, schema }), bytes)
  expect(await contentOf({ pool, schema })).toBe('a\n\nt\n(1)')
  await inSchema(pool, schema, (client) => client.query('INSERT INTO t VALUES (2)'))
})
