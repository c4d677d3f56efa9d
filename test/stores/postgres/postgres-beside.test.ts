/** Servers, poolers and settings that a backup or a restore finds beside it, and what it leaves to others. */
import { Pool, type PoolConfig } from 'pg'
import { describe, expect, it, onTestFinished } from 'vitest'
import { PostgresMetadataStore, guardPostgresPayloads, openPostgresStore, openPostgresTrial } from '../../../src/stores/postgres/index.ts'
import { postgresBackupable } from '../../../src/stores/postgres/snapshot/postgres-backupable.ts'
import { refused, restoreBytes, snapshotOf } from '../../conformance/backupable-fixture.ts'
import { schemaName, storeIn } from './homes.ts'
import { openStore } from './metadata-stores.ts'
import { convertStore, restoreBackup, rollback, runBackup, sweepPayloads } from '../../../src/index.ts'
import { newHolds } from '../../gc/holds.ts'
import { PayloadMap } from '../../gc/payload-map.ts'
import { poolerToServer } from './pooler.ts'
import { dumpSchema, inSchema, newSchema, sharedPool } from './schemas.ts'
import { copyOfServer, mayCopyServer } from './server-copy.ts'
import { serverUrl } from './server.ts'

const TABLES = 'CREATE TABLE files (id serial PRIMARY KEY, payload text)'
const OPTIONS = { payloadIds: 'SELECT payload FROM files', schemaVersion: 1 } as const

/** Two schemas, the first with rows. */
async function schemas(): Promise<{ readonly source: string; readonly target: string }> {
  const pool = await sharedPool()
  const made = [await newSchema(pool, TABLES), await newSchema(pool, TABLES)]
  onTestFinished(async () => void (await Promise.all(made.map(({ drop }) => drop()))))
  const [source = '', target = ''] = made.map(({ schema }) => schema)
  await inSchema(pool, source, (client) => client.query(`INSERT INTO files (payload) SELECT 'p' || i FROM generate_series(1, 2000) i`))
  return { source, target }
}

function poolOf(config: PoolConfig): Pool {
  const pool = new Pool({ max: 6, ...config })
  pool.on('error', () => undefined)
  onTestFinished(() => pool.end())
  return pool
}

/** What sessions behind a pool have that is not theirs from the start, of as many as there are at once. */
async function leftInSessions(pool: Pool, count: number, { inTransactions = true }: { readonly inTransactions?: boolean } = {}): Promise<readonly unknown[]> {
  const clients = await Promise.all(Array.from({ length: count }, () => pool.connect()))
  try {
    const found: unknown[] = []
    // Each in a transaction, so that a pooler has them in different sessions.
    if (inTransactions) for (const client of clients) await client.query('BEGIN')
    for (const client of clients) {
      const { rows } = await client.query(
        `SELECT name, setting FROM pg_settings WHERE source = 'session' AND name NOT IN ('transaction_isolation', 'transaction_read_only', 'transaction_deferrable')
         UNION ALL SELECT 'user', current_user WHERE current_user <> session_user UNION ALL SELECT 'lock', objid::text FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()`,
      )
      found.push(...(rows as unknown[]))
    }
    if (inTransactions) for (const client of clients) await client.query('ROLLBACK')
    return found
  } finally {
    for (const client of clients) client.release()
  }
}

describe('through a pooler that gives each transaction another session', () => {
  for (const worker of [false, true]) {
    it(`a schema is backed up and restored, and no session keeps a setting of it, ${worker ? 'in a worker' : 'on the calling thread'}`, async () => {
      const { source, target } = await schemas()
      const pool = poolOf(await poolerToServer('transaction'))
      const options = { ...OPTIONS, worker, pace: 'full' } as const
      const { bytes } = await snapshotOf(postgresBackupable(pool, { ...options, schema: source }))
      await restoreBytes(postgresBackupable(pool, { ...options, schema: target }), bytes)
      expect(await dumpSchema(await sharedPool(), target)).toBe(await dumpSchema(await sharedPool(), source))
      expect(await leftInSessions(pool, 4)).toEqual([])
    })
  }

  it('what needs locks of a session is refused with store_unavailable and the way out, and leaves no lock and no setting', async () => {
    const pool = poolOf(await poolerToServer('transaction'))
    const schema = await schemaName()
    for (const opening of [() => openPostgresStore({ connection: pool, schema }), () => guardPostgresPayloads({ connection: pool, schema, use: 'need' }), () => openPostgresTrial(pool)]) {
      const error = await refused(opening(), 'store_unavailable')
      expect(error).toMatchObject({ message: expect.stringContaining('pooler') as string, hint: expect.stringContaining('pool_mode = session') as string })
    }
    expect(await leftInSessions(pool, 4)).toEqual([])
  })

  it('and through one that keeps a session for each client, a store is made, guarded and restored', async () => {
    const pool = poolOf(await poolerToServer('session'))
    const schema = await schemaName()
    const store = await storeIn(schema, { connection: pool })
    await store.setSetting('a', 'b')
    const guard = await guardPostgresPayloads({ connection: pool, schema, use: 'need' })
    await guard.check()
    const trial = await openPostgresTrial(pool)
    await restoreBytes(trial, (await snapshotOf(store)).bytes)
    await trial.discard()
    await guard.end()
  })
})

describe('through a pooler that gives each statement another session', () => {
  it('all is refused with store_unavailable and the way out, and leaves no lock and no setting', async () => {
    const { source, target } = await schemas()
    const config = await poolerToServer('statement')
    const pool = poolOf(config)
    const { bytes } = await snapshotOf(postgresBackupable(await sharedPool(), { ...OPTIONS, schema: source }))
    const schema = await schemaName()
    const backupables = [false, true].flatMap((worker) => [source, target].map((of) => postgresBackupable(pool, { ...OPTIONS, schema: of, worker })))
    const tries = [
      () => openPostgresStore({ connection: pool, schema }),
      () => guardPostgresPayloads({ connection: pool, schema, use: 'need' }),
      () => openPostgresTrial(pool),
      ...backupables.flatMap((backupable) => [() => snapshotOf(backupable), () => restoreBytes(backupable, bytes)]),
    ]
    for (const attempt of tries) {
      const error = await refused(attempt(), 'store_unavailable')
      expect(error).toMatchObject({ message: expect.stringContaining('statement pooling mode') as string, hint: expect.stringContaining('pool_mode = session') as string, retryable: false })
    }
    expect(await leftInSessions(pool, 4, { inTransactions: false })).toEqual([])
  })
})

describe("an embedder's own pool", () => {
  it('has no session with a setting or a lock of Holdfast after a backup, a restore, a guard and a trial', async () => {
    const { source, target } = await schemas()
    const pool = poolOf({ connectionString: await serverUrl(), max: 5 })
    const { bytes } = await snapshotOf(postgresBackupable(pool, { ...OPTIONS, schema: source, worker: false, connections: 2 }))
    await restoreBytes(postgresBackupable(pool, { ...OPTIONS, schema: target, worker: false }), bytes)
    const store = await storeIn(await schemaName(), { connection: pool })
    const trial = await openPostgresTrial(pool)
    await restoreBytes(trial, (await snapshotOf(store)).bytes)
    await trial.discard()
    await (await guardPostgresPayloads({ connection: pool, schema: source, use: 'sweep' })).end()
    expect(await leftInSessions(pool, 5)).toEqual([])
  })
})

describe('a server that lets no more sessions in, or wants a password', () => {
  it('is told with what to change', async () => {
    const role = `few_${Math.random().toString(36).slice(2)}`
    const admin = await sharedPool()
    await admin.query(`CREATE ROLE ${role} LOGIN PASSWORD 'test' CONNECTION LIMIT 1; GRANT ALL ON DATABASE postgres TO ${role}`)
    onTestFinished(async () => void (await admin.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)))
    const url = new URL(await serverUrl())
    url.username = role
    const few = poolOf({ connectionString: url.href })
    const error = await refused(openPostgresStore({ connection: few, schema: await schemaName() }), 'store_unavailable')
    expect(error).toMatchObject({ hint: expect.stringContaining('CONNECTION LIMIT') as string, retryable: true, details: { sqlState: '53300' } })
    const open = (): Promise<unknown> => openPostgresStore({ connection: poolOf({ host: url.hostname, port: Number(url.port), user: role, database: 'postgres', password: '' }), schema: 'x' })
    expect(await refused(open(), 'store_unavailable')).toMatchObject({ hint: expect.stringContaining('PGPASSWORD') as string })
  })
})

describe('where transactions are read-only by default', () => {
  it('a schema is restored, a store is made and written, and a trial is made and removed', async () => {
    const { source, target } = await schemas()
    const pool = poolOf({ connectionString: await serverUrl(), options: '-c default_transaction_read_only=on' })
    const { bytes } = await snapshotOf(postgresBackupable(pool, { ...OPTIONS, schema: source }))
    await restoreBytes(postgresBackupable(pool, { ...OPTIONS, schema: target }), bytes)
    expect(await dumpSchema(await sharedPool(), target)).toBe(await dumpSchema(await sharedPool(), source))
    const store = await storeIn(await schemaName(), { connection: pool })
    await store.setSetting('a', 'b')
    const trial = await openPostgresTrial(pool)
    await restoreBytes(trial, (await snapshotOf(store)).bytes)
    await trial.discard()
  })

  it('a store is restored, rolled back, swept, adopted and converted', async () => {
    const connection = poolOf({ connectionString: await serverUrl(), options: '-c default_transaction_read_only=on' })
    const { destination, catalog, holds } = await newHolds()
    const store = await storeIn(await schemaName(), { connection })
    await store.setSetting('a', 'backed up')
    const { backupId } = await runBackup({ store, destination, catalog, holds })
    await store.setSetting('a', 'later')
    await restoreBackup({ target: store, destination, backupId, catalog, holds })
    expect(await store.setting('a')).toBe('backed up')
    await rollback({ target: store, catalog })
    expect(await store.setting('a')).toBe('later')

    const schema = await schemaName()
    await using plain = await PostgresMetadataStore.open(connection, { schema, storeId: 'plain' })
    await plain.setSetting('a', 'plain')
    const adopted = await storeIn(schema, { connection, adopt: true })
    const guard = await guardPostgresPayloads({ connection, schema, use: 'sweep' })
    const payloads = new PayloadMap()
    payloads.put('garbage')
    expect(await sweepPayloads({ payloads, stores: [store, adopted], holds, minAgeMs: 0 })).toMatchObject({ deleted: { payloads: 1 } })
    await guard.check()
    await guard.end()
    const copy = await storeIn(await schemaName(), { connection })
    await convertStore({ from: adopted, to: copy })
    expect(await copy.setting('a')).toBe('plain')
  })
})

describe.skipIf(!mayCopyServer)('a second server', () => {
  it('that is a standby has its schemas backed up, and refuses a restore and a metadata store by name', async () => {
    const { source, target } = await schemas()
    const { schema } = await openStore()
    const pool = poolOf({ connectionString: await copyOfServer({ isStandby: true }) })
    expect((await pool.query('SELECT pg_is_in_recovery() AS standby')).rows).toEqual([{ standby: true }])
    for (const worker of [false, true]) {
      const { bytes } = await snapshotOf(postgresBackupable(pool, { ...OPTIONS, schema: source, worker, connections: 2 }))
      await inSchema(await sharedPool(), target, (client) => client.query('TRUNCATE files'))
      await restoreBytes(postgresBackupable(await sharedPool(), { ...OPTIONS, schema: target }), bytes)
      expect(await dumpSchema(await sharedPool(), target)).toBe(await dumpSchema(await sharedPool(), source))
      const changes = [() => restoreBytes(postgresBackupable(pool, { ...OPTIONS, schema: target, worker }), bytes), () => PostgresMetadataStore.open(pool, { schema })]
      for (const change of changes) expect(await refused(change(), 'store_unavailable')).toMatchObject({ hint: expect.stringContaining('onnect to the primary') as string })
    }
  })

  it('whose locks run out says which setting to raise, as the server does', async () => {
    const tables = `DO $$ BEGIN FOR i IN 1..1500 LOOP EXECUTE format('CREATE TABLE t%s (id int)', i); END LOOP; END $$`
    const pool = await sharedPool()
    const { schema, drop } = await newSchema(pool, tables, 'many')
    onTestFinished(drop)
    const options = { schema, payloadIds: 'SELECT NULL::text WHERE false', schemaVersion: 1, worker: false }
    const { bytes } = await snapshotOf(postgresBackupable(pool, options))
    const few = poolOf({ connectionString: await copyOfServer({ flags: ['-c', 'max_locks_per_transaction=10', '-c', 'max_connections=10'] }), max: 4 })
    for (const work of [() => snapshotOf(postgresBackupable(few, options)), () => restoreBytes(postgresBackupable(few, options), bytes)]) {
      const error = await refused(work(), 'store_unavailable')
      expect(error).toMatchObject({ hint: expect.stringContaining('max_locks_per_transaction') as string, details: { sqlState: '53200' } })
    }
  })
})
