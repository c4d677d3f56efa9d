/** The set of payload IDs is what the tables refer to, or there is no backup. */
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { fsDestination } from '../../../destinations/fs/index.ts'
import { runBackup } from '../../../src/backup/run-backup.ts'
import { restoreBackup } from '../../../src/restore/restore-backup.ts'
import { engineSchema } from '../../../src/stores/postgres/home/home-names.ts'
import { type PostgresBackupableOptions, postgresBackupable } from '../../../src/stores/postgres/snapshot/postgres-backupable.ts'
import { PAYLOAD_IDS, type PostgresMetadataStore } from '../../../src/stores/postgres/store/postgres-metadata-store.ts'
import { OWN_TABLES } from '../../../src/stores/postgres/store/tables.ts'
import { CollectingSink, snapshotOf } from '../../conformance/backupable-fixture.ts'
import { newHolds } from '../../gc/holds.ts'
import { publish, takeBackup } from '../../restore/publish.ts'
import { altered } from '../../support/altered.ts'
import { collect } from '../../support/collect.ts'
import { fillStore } from '../../support/fill-store.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { schemaName, storeIn } from './homes.ts'
import { openStore } from './metadata-stores.ts'
import { inSchema, newSchema, quote, sharedPool } from './schemas.ts'
import { testPool } from './server.ts'

type OpenedStore = PostgresMetadataStore & { readonly schema: string }

/** Runs a statement with the triggers switched off, and the foreign keys with them. */
async function without(schema: string, statement: string): Promise<void> {
  await inSchema(await sharedPool(), schema, async (client) => {
    await client.query('SET LOCAL session_replication_role = replica')
    await client.query(statement)
  })
}

/** Leaves rows out of an index, as a damaged one does. */
async function whileIndexIsOff(schema: string, index: string, task: () => Promise<unknown>): Promise<void> {
  const set = async (isOn: boolean): Promise<unknown> =>
    await (await sharedPool()).query('UPDATE pg_index SET indisready = $1, indisvalid = $1 WHERE indexrelid = $2::regclass', [isOn, `${quote(schema)}.${index}`])
  await set(false)
  await task()
  await set(true)
}

async function refused(store: OpenedStore): Promise<{ readonly code: string; readonly message: string; readonly hint: string; readonly details: unknown }> {
  const sink = new CollectingSink()
  const failure = await store.backup(sink).then(() => expect.fail('It was not refused'), (error: unknown) => error)
  expect(sink.summary).toBeUndefined()
  return failure as Awaited<ReturnType<typeof refused>>
}

describe('PostgresMetadataStore backup() is refused with store_inconsistent', () => {
  test.each([
    ['a block of a file is gone', `DELETE FROM blocks WHERE position = 7`],
    ['a file has a block too many', `INSERT INTO blocks SELECT inode, 1000000, 'stray', 0, 1 FROM blocks LIMIT 1`],
    ['an upload has no blocks', `DELETE FROM upload_blocks`],
    ['an upload is gone whose blocks are there', `DELETE FROM uploads WHERE block_count > 0`],
  ])('when %s', async (_, statement) => {
    const store = await openStore()
    await fillStore(store)
    await snapshotOf(store)
    await without(store.schema, statement)
    expect(await refused(store)).toMatchObject({ code: 'store_inconsistent' })
  })

  test('when an index has lost rows that the IDs are read by, naming both counts and what to do', async () => {
    const pool = await testPool({ options: '-c enable_seqscan=off -c enable_bitmapscan=off -c enable_sort=off' })
    const store = await openStore({ pool })
    const { root } = await store.createShare('share')
    for (let at = 0; at < 10; at++) await store.create({ parent: root, name: `before ${at}` }, { type: 'file', content: { payloadId: `before-${at}` } })
    await snapshotOf(store)
    await whileIndexIsOff(store.schema, 'inodes_payload_id', () => store.create({ parent: root, name: 'lost' }, { type: 'file', content: { payloadId: 'lost' } }))
    const { code, message, hint, details } = await refused(store)
    expect({ code, details }).toEqual({ code: 'store_inconsistent', details: { expected: { references: 11 }, actual: { references: 10 } } })
    expect(message).toContain('10 were read, and 11 counted')
    expect(hint).toContain('REINDEX')
    await (await sharedPool()).query(`REINDEX INDEX ${quote(store.schema)}.inodes_payload_id`)
    expect((await snapshotOf(store)).payloadIds).toHaveLength(11)
  })
})

describe('restoreBackup() into a Postgres store is refused with store_inconsistent before the swap', () => {
  test('when what was restored does not fit, though it is what the manifest says', async () => {
    const source = await openStore()
    await fillStore(source)
    await without(source.schema, 'DELETE FROM blocks WHERE position = 7')
    const { storeId, schemaVersion, schema } = source
    // By a session that does not count.
    const uncounted = postgresBackupable(await sharedPool(), { schema, payloadIds: PAYLOAD_IDS, storeId, schemaVersion, leaveOut: OWN_TABLES })
    const destination = fsDestination({ path: join(await tempDir(), 'backups') })
    const backupId = await publish(destination, await takeBackup(uncounted))
    const target = await storeIn(await schemaName())
    await target.createShare('live')
    const engines = await target.engines()
    await expect(restoreBackup({ target, destination, backupId, allowStoreId: true })).rejects.toMatchObject({ code: 'store_inconsistent' })
    expect(await target.engines()).toEqual(engines)
    expect(await target.shares()).toMatchObject([{ name: 'live' }])
  })

  test('when the side engine was changed after it was filled', async () => {
    const schema = await schemaName()
    const store = await storeIn(schema)
    await fillStore(store)
    const destination = fsDestination({ path: join(await tempDir(), 'backups') })
    const backupId = await publish(destination, await takeBackup(store))
    const engines = await store.engines()
    const target = altered(store, {
      openSide: async (engine, options) => {
        const side = await store.openSide(engine, options)
        return altered(side, {
          restore: async (source, restoreOptions) => {
            await side.restore(source, restoreOptions)
            await without(engineSchema(schema, engine, 'restore'), 'DELETE FROM blocks WHERE position = 7')
          },
        })
      },
    })
    await expect(restoreBackup({ target, destination, backupId })).rejects.toMatchObject({ code: 'store_inconsistent' })
    expect(await store.engines()).toEqual(engines)
    await restoreBackup({ target: store, destination, backupId })
  })
})

test('runBackup() of a Postgres store that does not fit publishes nothing, is recorded as failed, and holds nothing afterwards', async () => {
  const store = await openStore()
  await fillStore(store)
  await without(store.schema, 'DELETE FROM upload_blocks WHERE position = 7')
  const { holds, catalog, destination } = await newHolds()
  await expect(runBackup({ store, destination, catalog, holds })).rejects.toMatchObject({ code: 'store_inconsistent' })
  expect(await collect(destination.list())).toEqual([])
  expect(await collect(catalog.jobs())).toMatchObject([{ state: 'failed', error: { code: 'store_inconsistent' } }])
  expect(await catalog.leases()).toEqual([])
})

describe('postgresBackupable() with countPayloadIds', () => {
  const IDS = 'SELECT id FROM files'

  async function backupWith(options: Partial<PostgresBackupableOptions>): Promise<readonly string[]> {
    const pool = await sharedPool()
    const { schema, drop } = await newSchema(pool, `CREATE TABLE files (id text); INSERT INTO files SELECT 'p' || i % 50 FROM generate_series(1, 100) i; INSERT INTO files VALUES (NULL), ('back\\slash')`)
    onTestFinished(drop)
    return (await snapshotOf(postgresBackupable(pool, { schema, payloadIds: IDS, schemaVersion: 1, ...options }))).payloadIds
  }

  const refusedWith = async (options: Partial<PostgresBackupableOptions>): Promise<unknown> => await backupWith(options).then(() => expect.fail('It was not refused'), (error: unknown) => error)
  const DIGEST = 'sum(hashtextextended(id COLLATE "C", 0))'

  test.each([[true], [false]])('publishes what both come to, in a worker thread: %s', async (worker) => {
    expect(await backupWith({ worker, countPayloadIds: `SELECT count(id), ${DIGEST} AS digest FROM files -- all` })).toHaveLength(51)
    expect(await backupWith({ worker, countPayloadIds: 'SELECT 101 AS count;' })).toHaveLength(51)
    expect(await backupWith({ worker, payloadIds: 'SELECT DISTINCT id FROM files', countPayloadIds: 'SELECT count(DISTINCT id) FROM files' })).toHaveLength(51)
  })

  test('digests IDs of any length and every character, however the rows are cut', async () => {
    const pool = await sharedPool()
    const { schema, drop } = await newSchema(pool, 'CREATE TABLE files (id text NOT NULL)')
    onTestFinished(drop)
    const ids = Array.from({ length: 6000 }, (_, n) => Array.from({ length: 1 + (n % 255) }, (_, at) => String.fromCharCode(0x21 + ((at * 31 + n * 7) % 94))).join(''))
    await pool.query(`INSERT INTO ${quote(schema)}.files SELECT unnest($1::text[])`, [ids])
    for (const pace of ['gentle', 'full'] as const) {
      const store = postgresBackupable(pool, { schema, payloadIds: IDS, countPayloadIds: `SELECT count(*), ${DIGEST} AS digest FROM files`, schemaVersion: 1, pace })
      expect((await snapshotOf(store)).payloadIds).toEqual([...new Set(ids)].sort())
    }
  })

  test('is refused with store_inconsistent when the counts differ, or the digests', async () => {
    const counts = { code: 'store_inconsistent', details: { expected: { references: 100 }, actual: { references: 101 } } }
    expect(await refusedWith({ countPayloadIds: `SELECT 100 AS count, ${DIGEST} AS digest FROM files` })).toMatchObject(counts)
    expect(await refusedWith({ countPayloadIds: 'SELECT 100 AS count' })).toMatchObject(counts)
    const digests = { code: 'store_inconsistent', message: expect.stringContaining('the 101 that were read are not those that were counted') as string }
    expect(await refusedWith({ countPayloadIds: `SELECT count(id), ${DIGEST} + 1 AS digest FROM files` })).toMatchObject(digests)
    const another = `SELECT count(id), sum(hashtextextended(CASE id WHEN 'back\\slash' THEN 'p50' ELSE id END COLLATE "C", 0)) AS digest FROM files`
    expect(await refusedWith({ countPayloadIds: another })).toMatchObject(digests)
  })

  test('counts without the index that the IDs are read by, which may have lost rows', async () => {
    const pool = await testPool({ options: '-c enable_seqscan=off -c enable_bitmapscan=off -c enable_sort=off' })
    const { schema, drop } = await newSchema(pool, `CREATE TABLE files (id text COLLATE "C" NOT NULL); CREATE INDEX files_id ON files (id)`)
    onTestFinished(drop)
    const insert = async (id: string): Promise<unknown> => await pool.query(`INSERT INTO ${quote(schema)}.files VALUES ($1)`, [id])
    await insert('before')
    await whileIndexIsOff(schema, 'files_id', () => insert('lost'))
    await pool.query(`VACUUM ${quote(schema)}.files`)
    expect((await snapshotOf(postgresBackupable(pool, { schema, payloadIds: IDS, schemaVersion: 1 }))).payloadIds).toEqual(['before'])
    const counting = postgresBackupable(pool, { schema, payloadIds: IDS, countPayloadIds: 'SELECT count(id) FROM files', schemaVersion: 1 })
    await expect(snapshotOf(counting)).rejects.toMatchObject({ code: 'store_inconsistent', details: { expected: { references: 2 }, actual: { references: 1 } } })
  })

  test.each(['SELECT id AS count FROM files WHERE false', 'SELECT 1 AS count UNION ALL SELECT 2', 'SELECT 101 AS number', 'SELECT NULL AS count'])('rejects when the query gives no count: %s', async (countPayloadIds) => {
    expect(await refusedWith({ countPayloadIds })).toMatchObject({ message: expect.stringContaining('must give one row') as string })
  })
})
