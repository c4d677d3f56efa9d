/** How fast a backup reads. */
import { Pool } from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { openPostgresHome, openPostgresTrial } from '../../../src/stores/postgres/index.ts'
import { type PaceOptions, type Pace, checkPace, strideOf } from '../../../src/stores/postgres/snapshot/pace.ts'
import { postgresBackupable } from '../../../src/stores/postgres/snapshot/postgres-backupable.ts'
import { PostgresMetadataStore } from '../../../src/stores/postgres/store/postgres-metadata-store.ts'
import { type Snapshot, snapshotOf } from '../../conformance/backupable-fixture.ts'
import { databaseUrl, dropDatabase, inDatabase, makeDatabase } from './databases.ts'
import { archiveOf, newSchema, sharedPool } from './schemas.ts'
import { serverUrl } from './server.ts'
import { statementPool } from './statement-pool.ts'

test('a backup is gentle and reads by one connection by default; by two at full pace', () => {
  expect(checkPace({})).toEqual({ pace: 'gentle', connections: 1 })
  expect(checkPace({ pace: 'full' })).toEqual({ pace: 'full', connections: 2 })
  expect(checkPace({ pace: 'full', connections: 1 })).toEqual({ pace: 'full', connections: 1 })
})

test('strideOf() is two pages, one COPY after the other, at gentle pace; whole tables at full pace, cut for more than two connections', () => {
  for (const connections of [1, 2, 16]) expect(strideOf({ pace: 'gentle', connections })).toEqual({ bytes: 16 * 1024, isAhead: false })
  for (const connections of [1, 2]) expect(strideOf({ pace: 'full', connections })).toEqual({ bytes: Infinity, isAhead: true })
  expect(strideOf({ pace: 'full', connections: 3 })).toEqual({ bytes: 4 * 1024 * 1024, isAhead: true })
})

test.each<PaceOptions>([{ pace: 'fast' as Pace }, { pace: '' as Pace }, { connections: 0 }, { connections: 17 }, { connections: 1.5 }])('%j is refused by everything that takes it', async (options) => {
  const pool = await sharedPool()
  const mistake = options.pace === undefined ? RangeError : TypeError
  expect(() => postgresBackupable(pool, { schema: 's', payloadIds: 'SELECT 1', schemaVersion: 1, ...options })).toThrow(mistake)
  await expect(PostgresMetadataStore.open(pool, { schema: 's', ...options })).rejects.toThrow(mistake)
  await expect(openPostgresHome({ connection: pool, schema: 's', ...options })).rejects.toThrow(mistake)
  if (options.pace !== undefined) await expect(openPostgresTrial(pool, options)).rejects.toThrow(mistake)
})

test('backup() takes payload IDs without rests where the server does not let the role rest', async () => {
  const shared = await sharedPool()
  const role = `holdfast_${Math.random().toString(36).slice(2)}`
  await shared.query(`CREATE ROLE ${role} LOGIN PASSWORD 'test'`)
  onTestFinished(async () => void (await shared.query(`DROP ROLE ${role}`)))
  const database = await makeDatabase()
  onTestFinished(() => dropDatabase(database))
  await inDatabase(database, async (pool) => {
    await pool.query(`REVOKE EXECUTE ON FUNCTION pg_sleep(double precision) FROM PUBLIC; CREATE SCHEMA s AUTHORIZATION ${role}`)
    await pool.query(`CREATE TABLE s.t AS SELECT n FROM generate_series(1, 5000) n; ALTER TABLE s.t OWNER TO ${role}`)
  })
  const url = Object.assign(new URL(await databaseUrl(database)), { username: role, password: 'test' }).href
  const pool = new Pool({ connectionString: url, max: 3 })
  onTestFinished(() => pool.end())
  const { payloadIds } = await snapshotOf(postgresBackupable(pool, { schema: 's', payloadIds: 'SELECT n::text FROM t', schemaVersion: 1, worker: false }))
  expect(payloadIds).toHaveLength(5000)
})

test('backup() reads two pages at a time at gentle pace, one after the other however many connections there are, and all at once at full pace; the rows are the same', async () => {
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
  const taken = async (options: PaceOptions): Promise<Snapshot & { readonly copies: number; readonly most: number }> => {
    copies = most = 0
    const snapshot = await snapshotOf(postgresBackupable(pool, { schema, payloadIds: 'SELECT md5((n % 900)::text) FROM t', schemaVersion: 1, ...options }))
    return { ...snapshot, copies, most }
  }
  const gentle = await taken({})
  // 1000 rows, seven to a page; then one for the other table, and one for the payload IDs.
  expect([gentle.copies, gentle.most]).toEqual([Math.ceil(143 / 2) + 2, 1])
  expect(gentle.payloadIds).toHaveLength(900)
  const others = { shared: await taken({ connections: 3 }), alone: await taken({ pace: 'full', connections: 1 }), full: await taken({ pace: 'full' }) }
  expect(others.shared.copies).toBe(gentle.copies)
  expect([others.alone.copies, others.alone.most]).toEqual([3, 1])
  expect(others.full.copies).toBe(3)
  for (const other of Object.values(others)) {
    expect(other.summary.records).toEqual(gentle.summary.records)
    expect(other.payloadIds).toEqual(gentle.payloadIds)
    expect((await archiveOf(other)).equals(await archiveOf(gentle))).toBe(true)
  }
})
