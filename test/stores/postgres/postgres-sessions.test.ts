/** Who the sessions of the server are, which of them are of use still, and which is asked or cancelled. */
import { Pool } from 'pg'
import { describe, expect, it, onTestFinished } from 'vitest'
import { PostgresMetadataStore } from '../../../src/stores/postgres/index.ts'
import { postgresBackupable } from '../../../src/stores/postgres/snapshot/postgres-backupable.ts'
import { type BackendTransaction, Backend, THIS_TRANSACTION } from '../../../src/stores/postgres/connection/backend.ts'
import { Connection } from '../../../src/stores/postgres/connection/connection.ts'
import { refused, restoreBytes, snapshotOf } from '../../conformance/backupable-fixture.ts'
import { alteredPool } from './altered-pool.ts'
import { openStore } from './metadata-stores.ts'
import { connectionTo } from './proxy.ts'
import { inSchema, newSchema, quote, sharedPool } from './schemas.ts'
import { serverUrl } from './server.ts'

const TABLES = 'CREATE TABLE files (id int PRIMARY KEY, payload text)'
const PAYLOADS = 'SELECT payload FROM files'

/** A pool of someone who may do nothing but become the owner of a schema, which a listener does on each connection. */
async function poolOfMember(tables: string): Promise<{ readonly pool: Pool; readonly schema: string; readonly name: string }> {
  const shared = await sharedPool()
  const { schema, drop } = await newSchema(shared, tables)
  const name = `holdfast_${Math.random().toString(36).slice(2)}`
  await shared.query(`CREATE ROLE ${name}_owner; CREATE ROLE ${name} LOGIN NOINHERIT PASSWORD 'test' IN ROLE ${name}_owner`)
  onTestFinished(async () => {
    await drop()
    await shared.query(`DROP ROLE ${name}, ${name}_owner`)
  })
  await shared.query(`ALTER SCHEMA ${quote(schema)} OWNER TO ${name}_owner; ALTER TABLE ${quote(schema)}.files OWNER TO ${name}_owner`)
  const pool = new Pool({ ...connectionTo(await serverUrl()), user: name, password: 'test', max: 4, application_name: name })
  pool.on('connect', (client) => void client.query(`SET ROLE ${name}_owner`))
  onTestFinished(() => pool.end())
  return { pool, schema, name }
}

describe('a pool whose sessions change to another role', () => {
  for (const worker of [true, false]) {
    it(`is backed up and restored in that role, ${worker ? 'in a worker' : 'on the calling thread'}`, async () => {
      const { pool, schema } = await poolOfMember(TABLES)
      const store = postgresBackupable(pool, { schema, payloadIds: PAYLOADS, schemaVersion: 1, worker })
      await inSchema(pool, schema, (client) => client.query(`INSERT INTO files VALUES (1, 'a')`))
      const { bytes } = await snapshotOf(store)
      await inSchema(pool, schema, (client) => client.query('TRUNCATE files'))
      await restoreBytes(store, bytes)
      const { rows } = await inSchema(pool, schema, (client) => client.query('SELECT * FROM files'))
      expect(rows).toEqual([{ id: 1, payload: 'a' }])
    })

    it(`has the statement cancelled that runs when a restore is given up, ${worker ? 'in a worker' : 'on the calling thread'}`, async () => {
      const { pool, schema, name } = await poolOfMember(TABLES)
      const { bytes } = await snapshotOf(postgresBackupable(pool, { schema, payloadIds: PAYLOADS, schemaVersion: 1 }))
      const running = `SELECT wait_event AS event FROM pg_stat_activity WHERE application_name = '${name}' AND xact_start IS NOT NULL`
      const shared = await sharedPool()
      // The statement that waits for this table is not ended by the loss of its connection alone before long.
      const other = await shared.connect()
      onTestFinished(() => other.release(true))
      await other.query('BEGIN')
      await other.query(`LOCK TABLE ${quote(schema)}.files IN ACCESS SHARE MODE`)
      const controller = new AbortController()
      const store = postgresBackupable(pool, { schema, payloadIds: PAYLOADS, schemaVersion: 1, worker, lockTimeoutMs: 60_000 })
      const restoring = expect(store.restore(iterate(bytes), { signal: controller.signal })).rejects.toThrow('no more')
      await expect.poll(async () => (await shared.query(running)).rows).toEqual([{ event: 'relation' }])
      const started = performance.now()
      controller.abort(new Error('no more'))
      await restoring
      expect((await shared.query(running)).rows).toEqual([])
      expect(performance.now() - started).toBeLessThan(35_000)
    })
  }
})

async function* iterate(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes
}

describe('Backend', () => {
  it('cancels the statement of its transaction, and not one that came after it in the same process of the server', async () => {
    const pool = await sharedPool()
    const client = await pool.connect()
    onTestFinished(() => client.release(true))
    const begin = async (): Promise<Backend> => {
      await client.query('BEGIN')
      const { rows } = await client.query<BackendTransaction>(THIS_TRANSACTION)
      const others = Connection.queries(pool, { action: 'Cannot ask', answerTimeoutMs: 10_000 })
      return new Backend(others, rows[0] ?? { pid: 0, started: '' }, 10_000)
    }
    const before = await begin()
    await client.query('COMMIT')
    const now = await begin()
    const sleeping = client.query('SELECT pg_sleep(30)')
    const outcome = sleeping.then(() => 'done', (error: { readonly code: string }) => error.code)
    await before.cancel()
    expect(await Promise.race([outcome, new Promise((resolve) => setTimeout(resolve, 500, 'goes on'))])).toBe('goes on')
    await now.cancel()
    expect(await outcome).toBe('57014')
  })
})

/** A store in which setting anything fails with the SQLSTATE of that name, through a pool of its own. */
async function failingStore(): Promise<{ readonly store: PostgresMetadataStore; readonly pool: Pool }> {
  const { schema } = await openStore()
  await inSchema(await sharedPool(), schema, (client) =>
    client.query(`
      CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'made to fail' USING ERRCODE = NEW.name; END $$;
      CREATE TRIGGER fail BEFORE INSERT ON settings FOR EACH ROW EXECUTE FUNCTION fail()`),
  )
  const pool = new Pool({ connectionString: await serverUrl(), max: 2 })
  onTestFinished(() => pool.end())
  const store = await PostgresMetadataStore.open(pool, { schema })
  onTestFinished(() => store.close())
  return { store, pool }
}

describe('a connection', () => {
  it('is not used again, and what failed on it can be tried again, when the server has ended its session or takes no changes', async () => {
    const { store, pool } = await failingStore()
    for (const sqlState of ['25006', '25P03', '25P04', '57P01', '08006']) {
      expect(await refused(store.setSetting(sqlState, ''), 'store_unavailable'), sqlState).toMatchObject({ retryable: true, details: { sqlState } })
      expect(pool.totalCount, sqlState).toBe(0)
    }
  })

  it('is used again after other failures', async () => {
    const { store, pool } = await failingStore()
    await refused(store.setSetting('58030', ''), 'store_unavailable')
    expect(pool.totalCount).toBe(1)
  })

  it('to a standby, where no transaction for changes begins, fails what opens or changes a store with store_unavailable, to be tried again', async () => {
    const { schema } = await openStore()
    let isStandby = false
    // What a standby says to BEGIN ... READ WRITE.
    const pool = alteredPool(await sharedPool(), /^BEGIN .*READ WRITE/, (run, client) =>
      isStandby ? client.query(`DO $$ BEGIN RAISE 'cannot set transaction read-write mode during recovery' USING ERRCODE = '0A000'; END $$`) : run(),
    )
    const store = await PostgresMetadataStore.open(pool, { schema })
    isStandby = true
    expect(await refused(store.setSetting('a', 'b'), 'store_unavailable')).toMatchObject({ retryable: true })
    expect(await refused(PostgresMetadataStore.open(pool, { schema }), 'store_unavailable')).toMatchObject({ retryable: true })
    await store.close()
  })
})

describe('a client that is gone without a word', () => {
  /** What the server has for the transaction in which a statement runs. */
  async function settingsDuring(statement: RegExp, work: (pool: ReturnType<typeof alteredPool>, schema: string) => Promise<unknown>): Promise<unknown> {
    const { schema } = await openStore()
    let found: unknown
    const pool = alteredPool(await sharedPool(), statement, async (run, client) => {
      const { rows } = await client.query(`SELECT current_setting('tcp_keepalives_idle') AS asked, current_setting('tcp_user_timeout') AS confirmed, current_setting('idle_in_transaction_session_timeout') AS idle`)
      found = rows[0]
      return await run()
    })
    await work(pool, schema)
    return found
  }

  it('is noticed by the server in a view, a mutation, a backup and a restore', async () => {
    const opened = async (pool: ReturnType<typeof alteredPool>, schema: string, work: (store: PostgresMetadataStore) => Promise<unknown>): Promise<void> => {
      const store = await PostgresMetadataStore.open(pool, { schema })
      await work(store)
      await store.close()
    }
    const view = await settingsDuring(/^SELECT .*"settings"/, (pool, schema) =>
      opened(pool, schema, async (store) => {
        const read = await store.view()
        await read.settings()
        await read.close()
      }),
    )
    expect(view).toEqual({ asked: '30', confirmed: '60000', idle: '0' })
    const mutation = await settingsDuring(/^INSERT INTO .*settings/, (pool, schema) => opened(pool, schema, (store) => store.setSetting('a', 'b')))
    expect(mutation).toMatchObject({ idle: '1min' })
    // A slow sink may keep the client from reading.
    let bytes: Uint8Array = new Uint8Array()
    const backup = await settingsDuring(/pg_export_snapshot/, (pool, schema) => opened(pool, schema, async (store) => ({ bytes } = await snapshotOf(store))))
    expect(backup).toEqual({ asked: '30', confirmed: '0', idle: '0' })
    const restore = await settingsDuring(/pg_try_advisory_xact_lock/, (pool, schema) => opened(pool, schema, (store) => restoreBytes(store, bytes)))
    expect(restore).toEqual({ asked: '30', confirmed: '60000', idle: '0' })
  })
})
