/** How a backup comes to one instant of a schema that is being changed. */
import { expect, onTestFinished, test } from 'vitest'
import { type PostgresBackupableOptions, postgresBackupable } from '../../../src/stores/postgres/postgres-backupable.ts'
import { type Snapshot, refused, snapshotOf } from '../../conformance/backupable-fixture.ts'
import { newSchema, quote, sharedPool } from './schemas.ts'
import { serverUrl, testPool } from './server.ts'
import { type StatementHooks, statementPool } from './statement-pool.ts'

const NO_PAYLOADS = 'SELECT NULL::text WHERE false'
const isLocking = (text: string): boolean => text.includes('LOCK TABLE')

interface Watched {
  readonly schema: string
  readonly store: ReturnType<typeof postgresBackupable>
}

/** A schema whose backup tells of its statements. */
async function watched(tables: string, hooks: (schema: string) => StatementHooks, options: Partial<PostgresBackupableOptions> = {}): Promise<Watched> {
  const { schema, drop } = await newSchema(await sharedPool(), tables)
  onTestFinished(drop)
  const { pool, close } = statementPool(await serverUrl(), hooks(schema))
  onTestFinished(close)
  return { schema, store: postgresBackupable(pool, { schema, payloadIds: NO_PAYLOADS, schemaVersion: 1, connections: 1, ...options }) }
}

test('backup() that is in a deadlock with what changes the tables finds and locks them again', async () => {
  const pool = await sharedPool()
  let attempts = 0
  const { store } = await watched('CREATE TABLE a (id int); CREATE TABLE b (id int)', (schema) => ({
    async before({ text }) {
      if (!isLocking(text) || ++attempts > 1) return
      const other = await pool.connect()
      await other.query(`SET deadlock_timeout = '60s'; BEGIN; LOCK TABLE ${quote(schema)}.b IN ACCESS EXCLUSIVE MODE`)
      // By now the backup has the one and waits for the other.
      setTimeout(() => {
        void other.query(`ALTER TABLE ${quote(schema)}.a ADD COLUMN more int; COMMIT; RESET deadlock_timeout`).finally(() => other.release())
      }, 300)
    },
  }))
  const { summary } = await snapshotOf(store)
  expect(summary.records).toEqual({ schema: 2, a: 0, b: 0, end: 1 })
  expect(attempts).toBe(2)
})

const FIVE_TABLES = 'CREATE TABLE other_1 (); CREATE TABLE other_2 (); CREATE TABLE other_3 (); CREATE TABLE other_4 (); CREATE TABLE other_5 ()'

test.each([
  ['made', 'CREATE TABLE t ()', 'CREATE TABLE %.other_# ()', { schema: 2, t: 0, 'other-1': 0, 'other-2': 0, end: 1 }],
  ['dropped', FIVE_TABLES, 'DROP TABLE %.other_#', { schema: 2, 'other-3': 0, 'other-4': 0, 'other-5': 0, end: 1 }],
])('backup() begins anew when tables are %s between finding and locking them, but not for ever', async (_, tables, change, records) => {
  const pool = await sharedPool()
  let most = 2
  let changes = 0
  const { schema, store } = await watched(tables, (name) => ({
    async before({ text }) {
      if (isLocking(text) && changes < most) await pool.query(change.replace('%', quote(name)).replace('#', `${++changes}`))
    },
  }))
  expect((await snapshotOf(store)).summary.records).toEqual(records)
  expect(changes).toBe(2)
  most = 5
  const error = await refused(snapshotOf(store), 'store_unavailable')
  expect(error).toMatchObject({ retryable: true, message: `Cannot back up the schema "${schema}": its tables keep changing` })
  expect(changes).toBe(5)
})

test('backup() of a schema that is replaced while it is read fails, to be tried again', async () => {
  const pool = await sharedPool()
  const table = 'CREATE TABLE t (id int); INSERT INTO t VALUES (1)'
  const { schema, store } = await watched(table, () => ({}))
  const next = await newSchema(pool, table)
  const old = `${schema} old`
  onTestFinished(async () => void (await pool.query(`DROP SCHEMA IF EXISTS ${quote(old)}, ${quote(next.schema)} CASCADE`)))
  let isReplaced = false
  const onWrite = async (): Promise<void> => {
    if (isReplaced) return
    isReplaced = true
    await pool.query(`ALTER SCHEMA ${quote(schema)} RENAME TO ${quote(old)}; ALTER SCHEMA ${quote(next.schema)} RENAME TO ${quote(schema)}`)
  }
  const error = await refused(snapshotOf(store, { onWrite }), 'store_unavailable')
  expect(error).toMatchObject({ retryable: true, message: `Cannot back up the schema "${schema}": its tables were replaced meanwhile` })
  expect((await snapshotOf(store)).summary.records).toMatchObject({ t: 1 })
})

/** A schema whose first table is read for as long as a test wants. */
async function slow(connections: number): Promise<{ readonly name: string; readonly backup: (meanwhile: () => Promise<void>) => Promise<Snapshot> }> {
  const shared = await sharedPool()
  const fill = (name: string, rows: number): string =>
    `CREATE TABLE ${name} (n int PRIMARY KEY, payload text, filling text); INSERT INTO ${name} SELECT n, md5(n::text), repeat(md5(n::text), 30) FROM generate_series(1, ${rows}) n; CREATE INDEX ON ${name} (payload);`
  const { schema, drop } = await newSchema(shared, fill('a', 30_000) + fill('b', 300) + fill('c', 300))
  onTestFinished(drop)
  const pool = await testPool({ max: 4 })
  const store = postgresBackupable(pool, { schema, payloadIds: 'SELECT payload FROM a UNION SELECT payload FROM b', schemaVersion: 1, connections, worker: false, lockTimeoutMs: 5000 })
  return {
    name: quote(schema),
    async backup(meanwhile) {
      let running: Promise<void> | undefined
      const snapshot = await snapshotOf(store, { onWrite: async () => (running ??= meanwhile()) })
      expect(running).toBeDefined()
      return snapshot
    },
  }
}

test.each([1, 2, 3, 4])('backup() by %i connections ends though somebody waits to change the definition of a table, and is before all that wait with them', async (connections) => {
  const shared = await sharedPool()
  const { name, backup } = await slow(connections)
  let altering: Promise<unknown> = Promise.resolve()
  const { summary } = await backup(async () => {
    altering = shared.query(`ALTER TABLE ${name}.b ADD COLUMN more int`)
    await expect.poll(async () => (await shared.query(`SELECT FROM pg_locks WHERE NOT granted AND relation = '${name}.b'::regclass`)).rows, { timeout: 5000 }).toHaveLength(1)
  })
  expect(summary.records).toEqual({ schema: 2, a: 30_000, b: 300, c: 300, end: 1 })
  await altering
})

test('backup() lets an index be made anew meanwhile, and the table be read and written', async () => {
  const shared = await sharedPool()
  const { name, backup } = await slow(1)
  const { summary } = await backup(async () => {
    await shared.query(`REINDEX TABLE ${name}.a`)
    await shared.query(`INSERT INTO ${name}.a VALUES (0)`)
    await shared.query(`SELECT FROM ${name}.a WHERE n = 0`)
  })
  expect(summary.records).toMatchObject({ a: 30_000 })
})

test('backup() waits longer than answerTimeoutMs for a statement of a server that keeps no record of what sessions do', async () => {
  const { schema, drop } = await newSchema(await sharedPool(), 'CREATE TABLE t (payload text); INSERT INTO t VALUES (NULL)')
  onTestFinished(drop)
  const pool = await testPool({ max: 4, options: '-c track_activities=off' })
  const store = postgresBackupable(pool, { schema, payloadIds: 'SELECT payload FROM t, pg_sleep(1.5)', schemaVersion: 1, worker: false, answerTimeoutMs: 300 })
  expect((await snapshotOf(store)).summary.records).toMatchObject({ t: 1 })
})
