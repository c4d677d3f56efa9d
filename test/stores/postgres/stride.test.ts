/** How a backup gives way to others who are at work on the server. */
import { setTimeout as delay } from 'node:timers/promises'
import { Pool, type PoolClient } from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { postgresBackupable } from '../../../src/stores/postgres/snapshot/postgres-backupable.ts'
import { type Session, HOLD_ON } from '../../../src/stores/postgres/connection/session.ts'
import { CarefulStride, steadyStride } from '../../../src/stores/postgres/snapshot/stride.ts'
import { type Snapshot, snapshotOf } from '../../conformance/backupable-fixture.ts'
import { archiveOf, besideAnother, newSchema, sharedPool } from './schemas.ts'
import { serverUrl } from './server.ts'
import { statementPool } from './statement-pool.ts'
import { databaseUrl, dropDatabase, inDatabase, makeDatabase } from './databases.ts'

const SMALLEST = 16 * 1024
const LARGEST = 4 * 1024 * 1024

interface Role {
  readonly name: string
  /** Where it connects to a server or a database. */
  readonly urlTo: (url: string) => string
}

/** A role that is told all of its own sessions, and none of what others do. */
async function newRole({ mayReadAll = false }: { readonly mayReadAll?: boolean } = {}): Promise<Role> {
  const shared = await sharedPool()
  const name = `holdfast_${Math.random().toString(36).slice(2)}`
  await shared.query(`CREATE ROLE ${name} LOGIN PASSWORD 'test'${mayReadAll ? ' IN ROLE pg_read_all_stats' : ''}`)
  onTestFinished(async () => void (await shared.query(`DROP ROLE ${name}`)))
  return { name, urlTo: (url) => Object.assign(new URL(url), { username: name, password: 'test' }).href }
}

/** Two sessions, beside those of the tests that are still. */
async function clients(url: string, options = ''): Promise<readonly [PoolClient, PoolClient]> {
  const pool = new Pool({ connectionString: url, max: 2, options })
  const taken = [await pool.connect(), await pool.connect()] as const
  onTestFinished(async () => {
    for (const client of taken) client.release()
    await pool.end()
  })
  return taken
}

/** A session in the middle of a backup, as far as a stride looks at one. */
async function begun(client: PoolClient): Promise<Session> {
  const rows = async (text: string): Promise<unknown> => [await client.query(text)].flat().at(-1)?.rows
  await client.query(`BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ${HOLD_ON}`)
  return { rows, run: rows } as unknown as Session
}

/** A stride that asks the server whenever it looks, and what it does then. */
function eager(session: Session): () => Promise<readonly [bytes: number, isAhead: boolean]> {
  let nowMs = 0
  const stride = new CarefulStride(() => (nowMs += 50))
  return async () => {
    await stride.look(session)
    return [stride.bytes, stride.isAhead]
  }
}

/** On a server that others use too, there is always somebody at work. */
const isShared = process.env['HOLDFAST_TEST_POSTGRES_URL'] !== undefined
/** After how long a session that did something counts as still. */
const STILL_MS = 250

// What was "just now" is told by the server's clock, which a busy machine leaves behind.
test.skipIf(isShared)('CarefulStride is small while another session is at work or was just now, doubles while nobody is, and falls back at once', { retry: 2 }, async () => {
  const { urlTo } = await newRole({ mayReadAll: true })
  const [own, other] = await clients(urlTo(await serverUrl()))
  const look = eager(await begun(own))

  await delay(STILL_MS)
  expect(await look()).toEqual([SMALLEST, true])
  expect(await look()).toEqual([2 * SMALLEST, true])
  for (let count = 0; count < 9; count++) await look()
  expect(await look()).toEqual([LARGEST, true])

  const sleeping = other.query('SELECT pg_sleep(1)')
  await delay(STILL_MS)
  expect(await look()).toEqual([SMALLEST, false])
  await sleeping
  expect(await look()).toEqual([SMALLEST, false])
  await delay(STILL_MS)
  expect(await look()).toEqual([SMALLEST, true])
})

test.skipIf(isShared)('CarefulStride does not count a session that waits for a lock: it may wait for the backup', async () => {
  const { urlTo } = await newRole({ mayReadAll: true })
  const [own, other] = await clients(urlTo(await serverUrl()))
  const session = await begun(own)
  await own.query('SELECT pg_advisory_xact_lock(4711)')
  const waiting = other.query('SELECT pg_advisory_lock(4711)')
  await delay(STILL_MS)
  expect(await eager(session)()).toEqual([SMALLEST, true])
  await own.query('ROLLBACK')
  await waiting
})

test.skipIf(isShared)('CarefulStride is small for a role that is not told what the sessions of others do, and for sessions that say nothing', async () => {
  const url = await serverUrl()
  const [stranger] = await clients((await newRole()).urlTo(url))
  await delay(STILL_MS)
  expect(await eager(await begun(stranger))()).toEqual([SMALLEST, false])

  const [own] = await clients((await newRole({ mayReadAll: true })).urlTo(url))
  const look = eager(await begun(own))
  await delay(STILL_MS)
  expect(await look()).toEqual([SMALLEST, true])
  await clients(url, '-c track_activities=off')
  await delay(STILL_MS)
  expect(await look()).toEqual([SMALLEST, false])
})

test.skipIf(isShared)('CarefulStride sees what the role that logged in may see, and leaves the session in the role that it has', async () => {
  const shared = await sharedPool()
  const [login, owner] = [await newRole({ mayReadAll: true }), await newRole()]
  await shared.query(`GRANT ${owner.name} TO ${login.name}`)
  const [own, other] = await clients(login.urlTo(await serverUrl()), `-c role=${owner.name}`)
  const look = eager(await begun(own))
  await delay(STILL_MS)
  expect(await look()).toEqual([SMALLEST, true])
  const sleeping = other.query('SELECT pg_sleep(1)')
  await delay(STILL_MS)
  expect(await look()).toEqual([SMALLEST, false])
  await sleeping
  expect((await own.query('SELECT current_user AS name')).rows).toEqual([{ name: owner.name }])
})

test('CarefulStride asks the server no more than every 50 ms', async () => {
  const asked: string[] = []
  const session = { rows: async (text: string) => (asked.push(text), [{ answer: false }]), run: async () => undefined } as unknown as Session
  let nowMs = 1000
  const stride = new CarefulStride(() => nowMs)
  for (; nowMs < 1100; nowMs += 10) await stride.look(session)
  expect(asked).toHaveLength(2)
  expect(stride.bytes).toBe(LARGEST)
})

test('CarefulStride is small for a role that the server does not let ask, and the transaction goes on', async () => {
  const { urlTo } = await newRole()
  for (const refusal of ['REVOKE SELECT ON pg_stat_activity FROM PUBLIC', 'REVOKE EXECUTE ON FUNCTION pg_stat_clear_snapshot() FROM PUBLIC', 'REVOKE EXECUTE ON FUNCTION pg_stat_get_activity(int) FROM PUBLIC']) {
    const database = await makeDatabase()
    await inDatabase(database, (pool) => pool.query(refusal))
    const [own] = await clients(urlTo(await databaseUrl(database)))
    const session = await begun(own)
    const asked: string[] = []
    const look = eager({ rows: (text: string) => (asked.push(text), session.rows(text)), run: (text: string) => session.run(text) } as unknown as Session)
    for (let count = 0; count < 3; count++) expect(await look(), refusal).toEqual([SMALLEST, false])
    expect(asked.length, refusal).toBe(1)
    await own.query('SELECT 1')
  }
})

test('backup() beside others takes payload IDs without rests where the server does not let the role rest', async () => {
  const { name, urlTo } = await newRole()
  const database = await makeDatabase()
  onTestFinished(() => dropDatabase(database))
  await inDatabase(database, async (pool) => {
    await pool.query(`REVOKE EXECUTE ON FUNCTION pg_sleep(double precision) FROM PUBLIC; CREATE SCHEMA s AUTHORIZATION ${name}`)
    await pool.query(`CREATE TABLE s.t AS SELECT n FROM generate_series(1, 5000) n; ALTER TABLE s.t OWNER TO ${name}`)
  })
  const pool = new Pool({ connectionString: urlTo(await databaseUrl(database)), max: 3 })
  onTestFinished(() => pool.end())
  const { payloadIds } = await besideAnother(() => snapshotOf(postgresBackupable(pool, { schema: 's', payloadIds: 'SELECT n::text FROM t', schemaVersion: 1, worker: false })))
  expect(payloadIds).toHaveLength(5000)
})

test('steadyStride() asks nothing', async () => {
  const stride = steadyStride()
  await stride.look({} as Session)
  expect([stride.bytes, stride.isAhead]).toEqual([LARGEST, true])
})

test('backup() by one connection reads two pages at a time while another session is at work, one after the other, and all at once by two; the rows are the same', async () => {
  const shared = await sharedPool()
  const { schema, drop } = await newSchema(shared, `CREATE TABLE t (n int, filling text); INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 1000) n; CREATE TABLE empty (); CREATE TABLE z (n int); INSERT INTO z VALUES (1)`)
  onTestFinished(drop)
  let copies = 0
  let running = 0
  let most = 0
  const { pool, close } = statementPool(await serverUrl(), {
    before({ text }) {
      if (text !== 'COPY') return
      copies++
      most = Math.max(most, ++running)
    },
    after: ({ text }) => void (text === 'COPY' && running--),
  })
  onTestFinished(close)
  const taken = async (connections: number): Promise<Snapshot & { readonly copies: number; readonly most: number }> => {
    copies = most = 0
    const snapshot = await snapshotOf(postgresBackupable(pool, { schema, payloadIds: 'SELECT md5((n % 900)::text) FROM t', schemaVersion: 1, connections }))
    return { ...snapshot, copies, most }
  }
  const careful = await besideAnother(() => taken(1))
  const fast = await taken(2)
  // 1000 rows, seven to a page; then one for the other table, and one for the payload IDs.
  expect(careful.copies).toBe(Math.ceil(143 / 2) + 2)
  expect(careful.most).toBe(1)
  expect(fast.copies).toBe(3)
  expect(careful.summary.records).toEqual(fast.summary.records)
  expect(careful.payloadIds).toHaveLength(900)
  expect(careful.payloadIds).toEqual(fast.payloadIds)
  expect(await archiveOf(careful)).toEqual(await archiveOf(fast))
})
