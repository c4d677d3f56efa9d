/** How a backup comes to one instant of a schema that is being changed. */
import { expect, onTestFinished, test } from 'vitest'
import { type PostgresBackupableOptions, postgresBackupable } from '../../../src/stores/postgres/snapshot/postgres-backupable.ts'
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

interface Slow {
  readonly name: string
  readonly backup: (meanwhile: (bytes: number) => Promise<void>) => Promise<Snapshot>
}

/** A schema whose backup takes a while, and tells how far it is. */
async function slow(connections: number, hooks: StatementHooks = {}, options: Partial<PostgresBackupableOptions> = {}): Promise<Slow> {
  const fill = (name: string, rows: number): string =>
    `CREATE TABLE ${name} (n int PRIMARY KEY, payload text, filling text); INSERT INTO ${name} SELECT n, md5(n::text), repeat(md5(n::text), 30) FROM generate_series(1, ${rows}) n; CREATE INDEX ON ${name} (payload);`
  const parted = 'CREATE TABLE parted (n int, payload text) PARTITION BY RANGE (n); CREATE TABLE d PARTITION OF parted FOR VALUES FROM (0) TO (10); INSERT INTO parted VALUES (1)'
  const payloadIds = 'SELECT payload FROM a UNION SELECT payload FROM b UNION SELECT payload FROM parted'
  const { schema, store } = await watched(fill('a', 30_000) + fill('b', 300) + fill('c', 300) + parted, () => hooks, { connections, pace: connections === 1 ? 'gentle' : 'full', payloadIds, ...options })
  return {
    name: quote(schema),
    async backup(meanwhile) {
      let bytes = 0
      return await snapshotOf(store, { onWrite: () => meanwhile(bytes++) })
    },
  }
}

const altersOf = async (): Promise<number> => (await (await sharedPool()).query(`SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'`)).rows.length

test.each([
  [1, 'b'],
  [2, 'b'],
  [3, 'b'],
  [4, 'b'],
  [1, 'parted'],
  [2, 'parted'],
])('backup() by %i connections ends though another session waits to change the definition of the table %s, and is before all that wait with them', async (connections, table) => {
  const shared = await sharedPool()
  let altering: Promise<unknown> | undefined
  let letHelpersJoin: (() => void) | undefined
  const isWaiting = new Promise<void>((resolve) => {
    letHelpersJoin = resolve
  })
  const { name, backup } = await slow(connections, { before: ({ text }) => (text.includes('TRANSACTION SNAPSHOT') ? isWaiting : undefined) })
  const { summary } = await backup(async (write) => {
    if (write !== 0) return
    altering = shared.query(`ALTER TABLE ${name}.${table} ADD COLUMN more int`)
    await expect.poll(altersOf).toBe(1)
    letHelpersJoin?.()
  })
  expect(summary.records).toEqual({ schema: 2, a: 30_000, b: 300, c: 300, d: 1, end: 1 })
  expect(altering).toBeDefined()
  await altering
})

test('backup() lets an index be made anew meanwhile, and the table be read and written', async () => {
  const shared = await sharedPool()
  const { name, backup } = await slow(1)
  let isDone = false
  const { summary } = await backup(async (write) => {
    // Rows of the table have come by then.
    if (write !== 3) return
    const client = await shared.connect()
    try {
      await client.query(`SET lock_timeout = '5s'`)
      await client.query(`REINDEX TABLE ${name}.a`)
      await client.query(`INSERT INTO ${name}.a VALUES (0)`)
      await client.query(`SELECT FROM ${name}.a WHERE n = 0`)
      isDone = true
    } finally {
      client.release(true)
    }
  })
  expect(summary.records).toMatchObject({ a: 30_000 })
  expect(isDone).toBe(true)
})

test('backup() waits for an index that is made anew for as long as that takes', async () => {
  const shared = await sharedPool()
  const { name, backup } = await slow(1, {}, { lockTimeoutMs: 300 })
  const { summary } = await backup(async (write) => {
    if (write !== 3) return
    const client = await shared.connect()
    await client.query(`BEGIN; REINDEX TABLE ${name}.a`)
    setTimeout(() => void client.query('COMMIT').finally(() => client.release()), 1000)
  })
  expect(summary.records).toMatchObject({ a: 30_000 })
})

test('a table whose values are mostly stored out of line is read by one COPY', async () => {
  const copies: string[] = []
  const { store } = await watched(
    `CREATE TABLE inline (n int, value text); INSERT INTO inline SELECT n, repeat('x', 1000) FROM generate_series(1, 100) n;
     CREATE TABLE outside (n int, value text); ALTER TABLE outside ALTER value SET STORAGE EXTERNAL; INSERT INTO outside SELECT n, repeat('x', 5000) FROM generate_series(1, 1000) n`,
    () => ({ before: ({ text }) => void (text === 'COPY' && copies.push(text)) }),
  )
  await snapshotOf(store)
  // Fifteen pages by two, one for the other table, one for payload IDs.
  expect(copies).toHaveLength(8 + 1 + 1)
})

test('backup() waits longer than answerTimeoutMs for a statement of a server that keeps no record of what sessions do', async () => {
  const { schema, drop } = await newSchema(await sharedPool(), 'CREATE TABLE t (payload text); INSERT INTO t VALUES (NULL)')
  onTestFinished(drop)
  const pool = await testPool({ max: 4, options: '-c track_activities=off' })
  const store = postgresBackupable(pool, { schema, payloadIds: 'SELECT payload FROM t, pg_sleep(1.5)', schemaVersion: 1, worker: false, answerTimeoutMs: 300 })
  expect((await snapshotOf(store)).summary.records).toMatchObject({ t: 1 })
})
