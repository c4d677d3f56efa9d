/** How a backup gives way to others who are at work on the server. */
import { setTimeout as delay } from 'node:timers/promises'
import { Pool, type PoolClient } from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { postgresBackupable } from '../../../src/stores/postgres/postgres-backupable.ts'
import type { Session } from '../../../src/stores/postgres/snapshot/session.ts'
import { CarefulStride, steadyStride } from '../../../src/stores/postgres/snapshot/stride.ts'
import { type Snapshot, snapshotOf } from '../../conformance/backupable-fixture.ts'
import { newSchema, sharedPool } from './schemas.ts'
import { serverUrl } from './server.ts'
import { statementPool } from './statement-pool.ts'
import { databaseUrl, inDatabase, makeDatabase } from './databases.ts'

const SMALLEST = 16 * 1024
const LARGEST = 4 * 1024 * 1024

/** A role that is told of no session but its own. */
async function newRole(): Promise<{ readonly name: string; readonly urlTo: (url: string) => string }> {
  const shared = await sharedPool()
  const name = `holdfast_${Math.random().toString(36).slice(2)}`
  await shared.query(`CREATE ROLE ${name} LOGIN PASSWORD 'test'`)
  onTestFinished(async () => void (await shared.query(`DROP ROLE ${name}`)))
  return { name, urlTo: (url) => Object.assign(new URL(url), { username: name, password: 'test' }).href }
}

async function clients(url: string): Promise<readonly [PoolClient, PoolClient]> {
  const pool = new Pool({ connectionString: url, max: 2 })
  const taken = [await pool.connect(), await pool.connect()] as const
  onTestFinished(async () => {
    for (const client of taken) client.release()
    await pool.end()
  })
  return taken
}

/** A session in the middle of a backup, as far as a stride looks at one. */
async function begun(client: PoolClient): Promise<Session> {
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
  return { rows: async (text: string) => (await client.query(text)).rows as unknown } as unknown as Session
}

test('CarefulStride is small while another session is at work or was just now, doubles while nobody is, and falls back at once', async () => {
  const { urlTo } = await newRole()
  const [own, other] = await clients(urlTo(await serverUrl()))
  const session = await begun(own)
  let nowMs = 0
  const stride = new CarefulStride(() => (nowMs += 50))
  const look = async () => (await stride.look(session), [stride.bytes, stride.isAhead])

  await other.query('SELECT 1')
  expect(await look()).toEqual([SMALLEST, false])
  await delay(150)
  expect(await look()).toEqual([SMALLEST, true])
  expect(await look()).toEqual([2 * SMALLEST, true])
  for (let count = 0; count < 9; count++) await look()
  expect(await look()).toEqual([LARGEST, true])

  const sleeping = other.query('SELECT pg_sleep(1)')
  await delay(200)
  expect(await look()).toEqual([SMALLEST, false])
  await sleeping
  expect(await look()).toEqual([SMALLEST, false])
  await delay(150)
  expect(await look()).toEqual([SMALLEST, true])
})

test('CarefulStride asks the server no more than every 50 ms', async () => {
  const asked: string[] = []
  const session = { rows: async (text: string) => (asked.push(text), [{ answer: asked.length === 1 }]) } as unknown as Session
  let nowMs = 1000
  const stride = new CarefulStride(() => nowMs)
  for (; nowMs < 1100; nowMs += 10) await stride.look(session)
  // Once whether it may, and at 1000 and 1050 ms.
  expect(asked).toHaveLength(3)
  expect(stride.bytes).toBe(LARGEST)
})

test('CarefulStride is small for a role that the server does not let ask, and the transaction goes on', async () => {
  const { urlTo } = await newRole()
  for (const refusal of ['REVOKE SELECT ON pg_stat_activity FROM PUBLIC', 'REVOKE EXECUTE ON FUNCTION pg_stat_clear_snapshot() FROM PUBLIC', 'REVOKE EXECUTE ON FUNCTION pg_stat_get_activity(int) FROM PUBLIC']) {
    const database = await makeDatabase()
    await inDatabase(database, (pool) => pool.query(refusal))
    const [own] = await clients(urlTo(await databaseUrl(database)))
    const session = await begun(own)
    const stride = new CarefulStride()
    for (let count = 0; count < 3; count++) await stride.look(session)
    expect([stride.bytes, stride.isAhead], refusal).toEqual([SMALLEST, false])
    await own.query('SELECT 1')
  }
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
    const snapshot = await snapshotOf(postgresBackupable(pool, { schema, payloadIds: 'SELECT NULL::text WHERE false', schemaVersion: 1, connections }))
    return { ...snapshot, copies, most }
  }
  const careful = await besideAnother(() => taken(1))
  const fast = await taken(2)
  // 1000 rows, seven to a page; then one for the other table, and one for the payload IDs.
  expect(careful.copies).toBe(Math.ceil(143 / 2) + 2)
  expect(careful.most).toBe(1)
  expect(fast.copies).toBe(3)
  expect(careful.summary.records).toEqual(fast.summary.records)
  expect(careful.bytes.byteLength).toBe(fast.bytes.byteLength)
})

/** Runs a task while the server runs another session's statement. */
async function besideAnother<T>(task: () => Promise<T>): Promise<T> {
  const shared = await sharedPool()
  const client = await shared.connect()
  const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
  const running = client.query('SELECT pg_sleep(600)').catch(() => undefined)
  try {
    return await task()
  } finally {
    await shared.query('SELECT pg_cancel_backend($1)', [rows[0]?.pid])
    await running
    client.release()
  }
}
