import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import type { EventEmitter } from 'node:events'
import { mkdir, readFile, readdir, readlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Pool } from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { type PostgresBackupableOptions, postgresBackupable } from '../../../src/stores/postgres/snapshot/postgres-backupable.ts'
import { CountingSource, refused, restoreBytes, snapshotOf } from '../../conformance/backupable-fixture.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { NO_PAYLOADS, made } from './made-schemas.ts'
import { DOCUMENT_TABLES, archiveOf, describeSchema, dumpSchema, inSchema, openFixture, quote, sharedPool } from './schemas.ts'
import { serverUrl } from './server.ts'
import { statementPool } from './statement-pool.ts'
import { EVERY_TYPE_ROWS, EVERY_TYPE_TABLES } from './every-type.ts'

const run = promisify(execFile)

test('backup() and restore() keep every type of data: NULLs, arrays, bytea, jsonb, timestamps at the extremes, types of the schema itself', async () => {
  const [source, target] = [await made(EVERY_TYPE_TABLES), await made(EVERY_TYPE_TABLES)]
  await inSchema(source.pool, source.schema, (client) => client.query(EVERY_TYPE_ROWS))
  const before = await dumpSchema(source.pool, source.schema)
  const snapshot = await snapshotOf(source.store)
  await restoreBytes(target.store, snapshot.bytes)
  expect(await dumpSchema(target.pool, target.schema)).toBe(before)
  expect(before.length).toBeGreaterThan(10_000)
  const { tables } = JSON.parse((await archiveOf(snapshot)).toString('latin1', 512).replace(/\0.*$/s, '')) as { tables: { name: string; format: string }[] }
  expect(Object.fromEntries(tables.map(({ name, format }) => [name, format]))).toEqual({
    everything: 'binary',
    has_no_binary_form: 'text',
    no_columns: 'text',
    of_its_own_types: 'text',
    references_by_oid: 'text',
  })
})

test('restore() leaves constraints, indexes, triggers and comments exactly as they were, and fires nothing', async () => {
  const source = await openFixture()
  onTestFinished(source.cleanup)
  await source.populate(500)
  const { bytes } = await snapshotOf(source.store)
  const target = await made(DOCUMENT_TABLES, { leaveOut: ['identity', 'log'], schemaVersion: 3 }, 'SELECT "select" FROM "Documents ""2"" é" UNION ALL SELECT payload FROM a_marks UNION ALL SELECT payload FROM z_marks')
  const before = await describeSchema(target.pool, target.schema)
  await restoreBytes(target.store, bytes)
  expect(await describeSchema(target.pool, target.schema)).toEqual(before)
  expect(before.some((line) => line.includes("it's a \\ circle"))).toBe(true)
  await inSchema(target.pool, target.schema, async (client) => {
    expect((await client.query('SELECT * FROM log')).rows).toEqual([])
    const { rows } = await client.query<{ relname: string }>(`SELECT relname FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = 'r' AND reltuples = -1`, [quote(target.schema)])
    expect(rows.map(({ relname }) => relname)).toEqual(['identity', 'log'])
    // Sequences go on where they were, and constraints hold.
    expect((await client.query(`SELECT nextval('lone')::int AS n`)).rows).toEqual([{ n: 64 }])
    const added = await client.query<{ id: string }>(`INSERT INTO folders (name) VALUES ('new') RETURNING id`)
    expect(added.rows).toEqual([{ id: '51' }])
    await expect(client.query(`INSERT INTO folders (parent, name) VALUES (999999, 'lost'); SET CONSTRAINTS ALL IMMEDIATE`)).rejects.toMatchObject({ code: '23503' })
  })
})

test('the archive is a tar that tar reads: one file for each slice, which put together are what psql copies', async () => {
  const fixture = await openFixture()
  onTestFinished(fixture.cleanup)
  await fixture.populate(12_000)
  const snapshot = await snapshotOf(fixture.store)
  const directory = await tempDir()
  await writeFile(join(directory, 'archive.tar'), await archiveOf(snapshot))
  const { stdout } = await run('tar', ['-tvf', join(directory, 'archive.tar')])
  expect(stdout).toMatch(/-rw-r--r-- 0\/0 +\d+ 1970-01-01 00:00 schema\.json\n/)
  await mkdir(join(directory, 'out'))
  await run('tar', ['-xf', join(directory, 'archive.tar'), '-C', join(directory, 'out')])
  expect((await readdir(join(directory, 'out'))).toSorted()).toEqual(['rows.json', 'schema.json', 'sequences.json', 'tables'])
  const slices = (await readdir(join(directory, 'out/tables/documents-2'))).toSorted()
  expect(slices.length).toBeGreaterThan(3)
  const table = Buffer.concat(await Promise.all(slices.map((name) => readFile(join(directory, 'out/tables/documents-2', name)))))
  const copied = await copyOf(await sharedPool(), `${quote(fixture.schema)}."Documents ""2"" é" ("Id", folder, "select", data)`)
  expect(table.equals(copied)).toBe(true)
  expect(JSON.parse(await readFile(join(directory, 'out/rows.json'), 'utf8'))).toContainEqual({ table: 'Documents "2" é', rows: 12_000 })
  expect(snapshot.summary.records).toMatchObject({ schema: 2, 'documents-2': 12_000, folders: 1200, end: 1 })
})

test('restore() of a snapshot with another table, column, type or label gives schema_version_mismatch, names it, and copies nothing', async () => {
  const source = await made(`CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TABLE people (id int, name text, mood mood); CREATE TABLE pets (id serial)`)
  await inSchema(source.pool, source.schema, (client) => client.query(`INSERT INTO people VALUES (1, 'a', 'good')`))
  const { bytes } = await snapshotOf(source.store)
  const others: Record<string, string> = {
    'table "pets" of the snapshot is missing in the store': `CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TABLE people (id int, name text, mood mood); CREATE SEQUENCE pets_id_seq`,
    'table "more" of the store is not in the snapshot': `CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TABLE people (id int, name text, mood mood); CREATE TABLE pets (id serial); CREATE TABLE more ()`,
    'column "people"."name" of the snapshot is missing in the store': `CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TABLE people (id int, mood mood); CREATE TABLE pets (id serial)`,
    'column "people"."age" of the store is not in the snapshot': `CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TABLE people (id int, age int, name text, mood mood); CREATE TABLE pets (id serial)`,
    'column "people"."id" is of type integer in the snapshot and of type bigint in the store': `CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TABLE people (id bigint, name text, mood mood); CREATE TABLE pets (id serial)`,
    'column "people"."mood" has an enum type with other labels': `CREATE TYPE mood AS ENUM ('good'); CREATE TABLE people (id int, name text, mood mood); CREATE TABLE pets (id serial)`,
    'sequence "pets_id_seq" of the snapshot is missing in the store': `CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TABLE people (id int, name text, mood mood); CREATE TABLE pets (id int NOT NULL)`,
  }
  for (const [difference, tables] of Object.entries(others)) {
    const target = await made(tables)
    expect((await refused(restoreBytes(target.store, bytes), 'schema_version_mismatch')).message).toContain(difference)
  }
  // The order of columns does not matter.
  const target = await made(`CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TABLE people (mood mood, name text, id int); CREATE TABLE pets (id serial)`)
  await restoreBytes(target.store, bytes)
  expect(await dumpSchema(target.pool, target.schema)).toContain('(good,a,1)')
})

test.each([
  ['a domain over another type', 'CREATE DOMAIN u AS int', 'CREATE DOMAIN u AS date', '1', 'u: integer'],
  ['a domain of other digits, in an array', 'CREATE DOMAIN d AS numeric(6,2); CREATE DOMAIN u AS d[]', 'CREATE DOMAIN d AS numeric(6,0); CREATE DOMAIN u AS d[]', "'{1.25}'", 'd: numeric(6,2)'],
  ['a composite of another order', 'CREATE TYPE u AS (a int, b int)', 'CREATE TYPE u AS (b int, a int)', "'(1,2)'", 'u: "a" integer, "b" integer'],
  ['a range of another type', 'CREATE TYPE u AS RANGE (SUBTYPE = int)', 'CREATE TYPE u AS RANGE (SUBTYPE = date)', "'[1,2)'", 'u: range of integer'],
  [
    'a multirange of another type',
    'CREATE TYPE r AS RANGE (SUBTYPE = int, MULTIRANGE_TYPE_NAME = u)',
    'CREATE TYPE r AS RANGE (SUBTYPE = date, MULTIRANGE_TYPE_NAME = u)',
    "'{[1,2)}'",
    'u: range of integer',
  ],
])('restore() into a table that has %s by the same name gives schema_version_mismatch, and not other values', async (_, types, others, value, part) => {
  const [source, target, same] = [await made(`${types}; CREATE TABLE t (x u)`), await made(`${others}; CREATE TABLE t (x u)`), await made(`${types}; CREATE TABLE t (x u)`)]
  await inSchema(source.pool, source.schema, (client) => client.query(`INSERT INTO t VALUES (${value})`))
  const { bytes } = await snapshotOf(source.store)
  const difference = `column "t"."x" uses the type ${part} in the snapshot, and not in the store`
  expect((await refused(restoreBytes(target.store, bytes), 'schema_version_mismatch')).message).toContain(difference)
  await restoreBytes(same.store, bytes)
  expect(await dumpSchema(same.pool, same.schema)).toBe(await dumpSchema(source.pool, source.schema))
})

test('restore() twice at once into one schema: one fills it, the other gives restore_in_progress', async () => {
  const source = await openFixture()
  onTestFinished(source.cleanup)
  await source.populate(3000)
  const { bytes } = await snapshotOf(source.store)
  const target = await openFixture()
  onTestFinished(target.cleanup)
  let second: Promise<Error> | undefined
  const onChunk = async (): Promise<void> => {
    await (second ??= refused(target.store.restore(new CountingSource(bytes)), 'restore_in_progress'))
  }
  await target.store.restore(new CountingSource(bytes, { onChunk }))
  expect(await second).toBeDefined()
  expect(await target.dump()).toBe(await source.dump())
})

test('restore() waits for other transactions no longer than its limit: store_not_drained', async () => {
  const [source, target] = [await made('CREATE TABLE t (id int)'), await made('CREATE TABLE t (id int)', { lockTimeoutMs: 100 })]
  const { bytes } = await snapshotOf(source.store)
  await inSchema(target.pool, target.schema, async (client) => {
    await client.query('SELECT * FROM t')
    await refused(restoreBytes(target.store, bytes), 'store_not_drained')
  })
  await restoreBytes(target.store, bytes)
})

test('backup() of a schema without tables, and of empty ones', async () => {
  const [source, target] = [await made('CREATE SEQUENCE s'), await made('CREATE SEQUENCE s')]
  await inSchema(source.pool, source.schema, (client) => client.query(`SELECT setval('s', 77)`))
  const { bytes, summary } = await snapshotOf(source.store)
  expect(summary.records).toEqual({ schema: 2, end: 1 })
  await restoreBytes(target.store, bytes)
  expect(await dumpSchema(target.pool, target.schema)).toBe('s\n(77,t)')
})

test('backup() and restore() of more tables than a stream has sections, partitions and children among them', async () => {
  const tables = `CREATE TABLE parted (id int, PRIMARY KEY (id)) PARTITION BY LIST (id); CREATE TABLE base (id int); CREATE TABLE child () INHERITS (base);
    CREATE TABLE refers (id int REFERENCES parted);
    DO $$ BEGIN FOR i IN 1..260 LOOP EXECUTE format('CREATE TABLE %I PARTITION OF parted FOR VALUES IN (%s)', 'part ' || i, i); END LOOP; END $$`
  const [source, target] = [await made(tables), await made(tables)]
  await inSchema(source.pool, source.schema, (client) =>
    client.query('INSERT INTO parted SELECT generate_series(1, 260); INSERT INTO base VALUES (1); INSERT INTO child VALUES (2); INSERT INTO refers VALUES (7)'),
  )
  const before = await describeSchema(target.pool, target.schema)
  const { bytes, summary } = await snapshotOf(source.store)
  expect(summary.records).toEqual({ schema: 2, tables: 263, end: 1 })
  await restoreBytes(target.store, bytes)
  expect(await dumpSchema(target.pool, target.schema)).toBe(await dumpSchema(source.pool, source.schema))
  expect(await describeSchema(target.pool, target.schema)).toEqual(before)
})

test('backup() and restore() of a row of 40 MB, which is cut into slices', async () => {
  const [source, target] = [await made('CREATE TABLE t (id int, data bytea)'), await made('CREATE TABLE t (id int, data bytea)')]
  await inSchema(source.pool, source.schema, (client) =>
    client.query(`INSERT INTO t VALUES (1, NULL), (2, decode(repeat(md5('x'), 2500000), 'hex')), (3, '')`),
  )
  const { bytes, summary } = await snapshotOf(source.store)
  // A slice in which no row ends counts as one.
  expect(summary.records).toEqual({ schema: 2, t: 6, end: 1 })
  await restoreBytes(target.store, bytes)
  expect(hash(await dumpSchema(target.pool, target.schema))).toBe(hash(await dumpSchema(source.pool, source.schema)))
})

test('backup() tells about how many bytes it will have, from its first progress on', async () => {
  const { store, pool, schema } = await made('CREATE TABLE t (n int, text text)', {}, `SELECT 'x' WHERE false`)
  await inSchema(pool, schema, (client) => client.query(`INSERT INTO t SELECT n, repeat('x', 90) FROM generate_series(1, 20000) n`))
  const totals: number[] = []
  let bytes = 0
  const set = await store.backup({ write: async (chunk) => void (bytes += chunk.byteLength), finish: async () => undefined }, { onProgress: ({ totalBytes = 0 }) => void totals.push(totalBytes) })
  await set.close()
  expect(bytes).toBeGreaterThan(2_000_000)
  expect(totals.length).toBeGreaterThan(1)
  for (const total of totals) expect(total / bytes).toBeGreaterThan(0.7)
  for (const total of totals) expect(total / bytes).toBeLessThan(1.4)
})

test('backup() fails with invalid_argument for references that are not payload IDs, naming the first of them and their number', async () => {
  const { store, pool, schema } = await made('CREATE TABLE t (payload text)', {}, 'SELECT payload FROM t')
  await inSchema(pool, schema, (client) => client.query(`INSERT INTO t SELECT 'ok-' || i FROM generate_series(1, 99) i`))
  await inSchema(pool, schema, (client) => client.query(`INSERT INTO t SELECT E'two\\nlines ' || i FROM generate_series(1, 30) i`))
  const error = await refused(snapshotOf(store), 'invalid_argument')
  expect(error).toMatchObject({ details: { count: 30, values: { length: 20 } }, hint: expect.stringMatching(/^Mend the query/) as string })
  for (const text of ['é', 'a b', 'much-before-the\nend', 'x'.repeat(256), '']) {
    await inSchema(pool, schema, (client) => client.query('DELETE FROM t'))
    await inSchema(pool, schema, (client) => client.query('INSERT INTO t VALUES ($1)', [text]))
    expect(await refused(snapshotOf(store), 'invalid_argument', text)).toMatchObject({ details: { values: [text.slice(0, 255)] } })
  }
  await inSchema(pool, schema, (client) => client.query('DELETE FROM t'))
  await inSchema(pool, schema, (client) => client.query('INSERT INTO t VALUES ($1), ($2), (NULL), ($3), ($1)', ['a\\b', `\\${'~'.repeat(254)}`, '!']))
  expect((await snapshotOf(store)).payloadIds).toEqual(['!', `\\${'~'.repeat(254)}`, 'a\\b'])
})

test.each([
  ['SELEC payload FROM t', /: syntax error at or near "\w+", in the query that is given as "payloadIds"$/],
  ['SELECT payload, n FROM t', /: each UNION query must have the same number of columns, in the query/],
  ['SELECT paylod FROM t', /: column "paylod" does not exist, in the query/],
  ['SELECT payload FROM nowhere', /: relation "nowhere" does not exist, in the query/],
])('backup() tells a mistake in the query of payload IDs as one: %s', async (query, message) => {
  for (const worker of [true, false]) {
    const { store } = await made('CREATE TABLE t (payload text, n int)', { worker }, query)
    const error = await refused(snapshotOf(store), 'invalid_argument')
    expect(error.message).toMatch(message)
    expect(error).toMatchObject({ hint: 'Mend the query: it must give one column, the payload IDs' })
  }
})

test('backup() takes payload IDs of any type, from a query that ends with a comment', async () => {
  const { store, pool, schema } = await made('CREATE TABLE t (n int)', {}, 'WITH given AS (SELECT n FROM t) SELECT n FROM given ORDER BY n -- all')
  await inSchema(pool, schema, (client) => client.query('INSERT INTO t VALUES (2), (1)'))
  expect((await snapshotOf(store)).payloadIds).toEqual(['1', '2'])
})

test('backup() refuses a counting query that cannot be run or gives no count, and a name in leaveOut of which there is nothing', async () => {
  const refusals: readonly (readonly [Partial<PostgresBackupableOptions>, RegExp])[] = [
    [{ countPayloadIds: 'SELECT count(*) FORM t' }, /in the query that is given as "countPayloadIds"$/],
    [{ countPayloadIds: 'SELECT 1 AS count FROM t' }, /the query "countPayloadIds" must give one row with a "count", and gave 0 rows$/],
    [{ leaveOut: ['t2', 'nowhere'] }, /"leaveOut" names "nowhere", and there is nothing of that name to leave out$/],
  ]
  for (const [options, message] of refusals) {
    const { store } = await made('CREATE TABLE t (payload text); CREATE TABLE t2 (n int)', options, 'SELECT payload FROM t')
    expect((await refused(snapshotOf(store), 'invalid_argument')).message).toMatch(message)
  }
})

test('backup() refuses a reference to a payload of many megabytes without holding it in memory', async () => {
  const { store, pool, schema } = await made('CREATE TABLE t (n int)', { connections: 1 }, `SELECT repeat('x', n) FROM t UNION ALL SELECT '~'`)
  await inSchema(pool, schema, (client) => client.query('INSERT INTO t VALUES (64000000)'))
  // What is still in use, not what waits to be collected: when that happens is up to the version of Node.
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const inUse = () => (collect(), process.memoryUsage().arrayBuffers)
  const before = inUse()
  let most = 0
  const timer = setInterval(() => (most = Math.max(most, inUse() - before)), 1)
  onTestFinished(() => clearInterval(timer))
  const error = await refused(snapshotOf(store), 'invalid_argument')
  expect(error).toMatchObject({ details: { count: 1, values: ['x'.repeat(255)] } })
  expect(most).toBeLessThan(32_000_000)
})

test.skipIf(process.platform !== 'linux')('backup() that cannot end its transaction leaves no file of payload IDs open', async () => {
  const { pool, schema } = await made('CREATE TABLE t (n int)')
  await inSchema(pool, schema, (client) => client.query('INSERT INTO t SELECT generate_series(1, 400000)'))
  let mostOpen = 0
  const watching = statementPool(await serverUrl(), {
    async before({ text, processId }) {
      if (text === 'COMMIT' && mostOpen > 0) await pool.query('SELECT pg_terminate_backend($1, 5000)', [processId])
    },
  })
  onTestFinished(watching.close)
  const spillDirectory = await tempDir()
  const openFiles = async (): Promise<readonly string[]> => {
    const links = await Promise.all((await readdir('/proc/self/fd')).map((fd) => readlink(join('/proc/self/fd', fd)).catch(() => '')))
    return links.filter((path) => path.startsWith(spillDirectory))
  }
  const store = postgresBackupable(watching.pool, { schema, payloadIds: `SELECT encode(sha256(n::text::bytea), 'hex') FROM t`, schemaVersion: 1, connections: 1, spillDirectory })
  const finish = async (): Promise<void> => void (mostOpen = (await openFiles()).length)
  await refused(store.backup({ write: async () => undefined, finish }), 'store_unavailable')
  expect(mostOpen).toBeGreaterThan(0)
  expect(await openFiles()).toEqual([])
})

test('restore() gives restore_corrupt and leaves the target empty when the rows refer to other payloads than the snapshot says', async () => {
  const tables = 'CREATE TABLE t (payload text)'
  const source = await made(tables, {}, 'SELECT payload FROM t')
  await inSchema(source.pool, source.schema, (client) => client.query(`INSERT INTO t VALUES ('a'), ('b')`))
  const { bytes } = await snapshotOf(source.store)
  const target = await made(tables, {}, `SELECT payload FROM t WHERE payload > 'a'`)
  await refused(restoreBytes(target.store, bytes), 'restore_corrupt')
  expect(await dumpSchema(target.pool, target.schema)).toBe('t\n')
})

test('backup() refuses foreign tables and materialized views unless they are left out; what it cannot read fails it', async () => {
  const { store, pool, schema } = await made('CREATE TABLE t (id int); CREATE MATERIALIZED VIEW v AS SELECT * FROM t')
  expect((await refused(snapshotOf(store), 'backup_unsupported')).message).toContain('"v"')
  await snapshotOf(postgresBackupable(pool, { schema, payloadIds: NO_PAYLOADS, schemaVersion: 1, leaveOut: ['v'] }))
  await refused(snapshotOf(postgresBackupable(pool, { schema, payloadIds: 'SELECT nothing', schemaVersion: 1, leaveOut: ['v'] })), 'invalid_argument')
})

test('backup() and restore() need no superuser: reading rights for the one, ownership for the other', async () => {
  const { pool, schema, store } = await made(DOCUMENT_TABLES, { leaveOut: ['identity', 'log'] })
  const { bytes } = await snapshotOf(store)
  const role = `holdfast_${Math.random().toString(36).slice(2)}`
  await pool.query(`CREATE ROLE ${role}; GRANT ${role} TO CURRENT_USER`)
  onTestFinished(async () => void (await pool.query(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`)))
  const owned = `owned ${role}`
  await pool.query(`CREATE SCHEMA ${quote(owned)} AUTHORIZATION ${role}`)
  const asRole = await limitedPool(pool, role)
  await inSchema(asRole, owned, (client) => client.query(DOCUMENT_TABLES))
  const target = postgresBackupable(asRole, { schema: owned, payloadIds: NO_PAYLOADS, schemaVersion: 1, leaveOut: ['identity', 'log'], worker: false })
  await restoreBytes(target, bytes)
  await snapshotOf(target)
  const stranger = postgresBackupable(asRole, { schema, payloadIds: NO_PAYLOADS, schemaVersion: 1, leaveOut: ['identity', 'log'], worker: false })
  await refused(snapshotOf(stranger), 'store_unavailable')
})

test('backup() by a role that may read some columns only, which cannot be asked for by ranges', async ({ skip }) => {
  const { rows } = await (await sharedPool()).query<{ version: number }>(`SELECT current_setting('server_version_num')::int AS version`)
  skip((rows[0]?.version ?? 0) < 160_000, 'Before Postgres 16 who may not read a whole table may not lock it')
  const { pool, schema } = await made('CREATE TABLE t (n int, secret text); INSERT INTO t SELECT n FROM generate_series(1, 100000) n')
  const role = `holdfast_${Math.random().toString(36).slice(2)}`
  await pool.query(`CREATE ROLE ${role}; GRANT ${role} TO CURRENT_USER; GRANT USAGE ON SCHEMA ${quote(schema)} TO ${role}; GRANT SELECT (n, secret), UPDATE ON ${quote(schema)}.t TO ${role}`)
  onTestFinished(async () => void (await pool.query(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`)))
  const store = postgresBackupable(await limitedPool(pool, role), { schema, payloadIds: NO_PAYLOADS, schemaVersion: 1, worker: false })
  expect((await snapshotOf(store)).summary.records).toMatchObject({ t: 100_000 })
})

test('backup() goes by none of the limits and wishes that a pool, a role or a database has for its sessions', async () => {
  const wishes = ['statement_timeout=300', 'lock_timeout=1', 'enable_tidscan=off', 'parallel_setup_cost=0', 'parallel_tuple_cost=0', 'min_parallel_table_scan_size=0', 'max_parallel_workers_per_gather=4', 'synchronize_seqscans=on']
  const query = `SELECT DISTINCT md5((n % 1000)::text) FROM t, pg_sleep(0.6)`
  const { pool, schema, store } = await made('CREATE TABLE t (n int, filling text); INSERT INTO t SELECT n, repeat(md5(n::text), 10) FROM generate_series(1, 20000) n', { pace: 'full' }, query)
  const wishing = new Pool({ ...pool.options, options: wishes.map((wish) => `-c ${wish}`).join(' '), max: 4 })
  onTestFinished(() => wishing.end())
  const plain = await snapshotOf(store)
  for (const paces of [{}, { pace: 'full', connections: 3 }] as const) {
    const other = await snapshotOf(postgresBackupable(wishing, { schema, payloadIds: query, schemaVersion: 1, worker: false, ...paces }))
    expect((await archiveOf(other)).equals(await archiveOf(plain)), JSON.stringify(paces)).toBe(true)
    expect(other.payloadIds).toEqual(plain.payloadIds)
  }
})

/** A pool whose connections act as another role. */
async function limitedPool(pool: Pool, role: string): Promise<Pool> {
  const limited = new Pool({ ...pool.options, options: `-c role=${role}`, max: 4 })
  onTestFinished(() => limited.end())
  return limited
}

/** What a binary COPY of a table sends, header and trailer included. */
async function copyOf(pool: Pool, table: string): Promise<Buffer> {
  const client = await pool.connect()
  const { connection } = client as unknown as { readonly connection: EventEmitter }
  const parts: Buffer[] = []
  const onData = ({ chunk }: { readonly chunk: Buffer }): void => void parts.push(Buffer.from(chunk))
  connection.on('copyData', onData)
  await client.query(`COPY ${table} TO STDOUT (FORMAT binary)`)
  connection.removeListener('copyData', onData)
  client.release()
  return Buffer.concat(parts)
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
