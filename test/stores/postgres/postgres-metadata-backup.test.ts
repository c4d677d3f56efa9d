import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { checkTree } from '../../../src/metadata/check-tree.ts'
import { PAYLOAD_IDS, PostgresMetadataStore } from '../../../src/stores/postgres/store/postgres-metadata-store.ts'
import { payloadIdCommand } from '../../../src/stores/postgres/snapshot/payload-id-query.ts'
import { lockKey } from '../../../src/stores/postgres/connection/advisory-locks.ts'
import { type BackupableFixture, testBackupable } from '../../conformance/backupable.ts'
import { CollectingSink, refused, restoreBytes, snapshotOf } from '../../conformance/backupable-fixture.ts'
import { dumpStore } from '../../support/dump-store.ts'
import { fillStore } from '../../support/fill-store.ts'
import { runs, seed } from '../../support/seed.ts'
import { dropSchema, newSchemaName, openStore } from './metadata-stores.ts'
import { describeSchema, inSchema, quote, sharedPool } from './schemas.ts'
import { testPool } from './server.ts'

/** Makes rows by the thousand, in the server's own way: it counts them all the same. */
async function addFiles(schema: string, { root, count }: { readonly root: number; readonly count: number }): Promise<void> {
  const [inodes, entries, numbers] = ['inodes', 'entries', 'inode_numbers'].map((name) => `${quote(schema)}.${name}`)
  await (await sharedPool()).query(
    `WITH made AS (
       INSERT INTO ${inodes} (inode, type, mode, uid, gid, size, accessed_at_ns, modified_at_ns, changed_at_ns, created_at_ns, links, payload_id)
       SELECT nextval($3::text::regclass), 'file', 420, 0, 0, i, i, i, i, i, 0, 'p' || i FROM generate_series(1, $1::int) i RETURNING inode
     ) INSERT INTO ${entries} SELECT $2::bigint, 'file-' || inode, inode, 'file' FROM made`,
    [count, root, numbers],
  )
}

/** A store for the suite of all that can be backed up; a step changes inodes, block lists and counts at once. */
async function fixture(): Promise<BackupableFixture> {
  const pool = await sharedPool()
  const schema = newSchemaName()
  const store = await PostgresMetadataStore.open(pool, { schema })
  const stepped = async (): Promise<number | undefined> => (await store.lookup({ parent: (await store.share('share'))?.root ?? 1, name: 'stepped' }))?.inode
  return {
    store,
    storeId: async () => store.storeId,
    async populate(records) {
      if (records > 100) await fillStore(store)
      else await store.createShare('share')
      const { root = 1 } = (await store.share('share')) ?? {}
      await store.create({ parent: root, name: 'stepped' }, { type: 'file' })
      await addFiles(schema, { root, count: Math.ceil(records / 3) })
    },
    async mutate(count) {
      const blocks = Array.from({ length: (count % 3) * 1000 }, (_, at) => ({ payloadId: `step-${count}-${at}`, offset: 0, bytes: 1 }))
      await store.setContent((await stepped()) ?? 0, { blocks }, { size: blocks.length })
    },
    async check() {
      expect(await checkTree(store)).toEqual([])
    },
    dump: async () => JSON.stringify(await dumpStore(store), (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value)),
    async payloadIds() {
      const payloadIds: string[] = []
      for await (const payloadId of store.payloadIds()) payloadIds.push(payloadId)
      return payloadIds
    },
    async cleanup() {
      await store.close()
      await dropSchema(schema)
    },
  }
}

testBackupable({ name: 'metadata store, postgres', runner: { describe, test }, factory: fixture, seed, faults: runs(4) })

describe('PostgresMetadataStore backup() and restore()', () => {
  test('give the same store again, its constraints and triggers with it', async () => {
    const [source, target] = [await openStore(), await openStore()]
    const pool = await sharedPool()
    await fillStore(source)
    const snapshot = await snapshotOf(source)
    await restoreBytes(target, snapshot.bytes)
    expect(await dumpStore(target)).toEqual(await dumpStore(source))
    expect(await checkTree(target)).toEqual([])
    expect(snapshot.payloadIds).toEqual((await dumpStore(target)).payloadIds)
    expect(target.storeId).not.toBe(source.storeId)
    expect(await describeSchema(pool, target.schema)).toEqual(await describeSchema(pool, source.schema))
  })

  test('go on with inode numbers that the restored store has not used', async () => {
    const [source, target] = [await openStore(), await openStore()]
    await fillStore(source)
    const { root = 1 } = (await source.share('share')) ?? {}
    await restoreBytes(target, (await snapshotOf(source)).bytes)
    const place = { parent: root, name: 'after' }
    expect((await target.create(place, { type: 'file' })).inode).toBe((await source.create(place, { type: 'file' })).inode)
  })

  test('need no superuser, nor does any operation', async () => {
    const pool = await sharedPool()
    const role = `holdfast_${Math.random().toString(36).slice(2)}`
    const database = (await pool.query<{ name: string }>('SELECT current_database() AS name')).rows[0]?.name ?? ''
    await pool.query(`CREATE ROLE ${role}; GRANT CREATE ON DATABASE ${quote(database)} TO ${role}`)
    onTestFinished(async () => void (await pool.query(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`)))
    const plain = await testPool({ options: `-c role=${role}` })
    const [source, target] = [await openStore({ pool: plain }), await openStore({ pool: plain })]
    await fillStore(source)
    await restoreBytes(target, (await snapshotOf(source)).bytes)
    expect(await dumpStore(target)).toEqual(await dumpStore(source))
    const { rows } = await pool.query('SELECT DISTINCT pg_get_userbyid(relowner) AS owner FROM pg_class WHERE relnamespace = $1::regnamespace', [quote(target.schema)])
    expect(rows).toEqual([{ owner: role }])
  })

  test.each([false, true])('payload IDs can be read from the indexes alone, in order (gently: %s)', async (isGentle) => {
    const store = await openStore()
    const pool = await sharedPool()
    await inSchema(pool, store.schema, async (client) => {
      await client.query('SET LOCAL enable_sort = off')
      const { rows } = await client.query<{ 'QUERY PLAN': string }>(`EXPLAIN ${payloadIdCommand(PAYLOAD_IDS, { isGentle, isHashed: true }).replace(/^COPY \(([^]*)\) TO STDOUT .*$/, '$1')}`)
      const plan = rows.map((row) => row['QUERY PLAN']).join('\n')
      for (const index of ['inodes_payload_id', 'blocks_payload_id', 'upload_blocks_payload_id']) expect(plan).toContain(index)
      expect(plan).not.toContain('Sort  ')
    })
  })

  test.each([
    [{}, 1],
    [{ connections: 2 }, 2],
    [{ pace: 'full' }, 2],
  ] as const)('a backup of a store opened with %j reads by so many connections: %i', async (options, expected) => {
    const name = `holdfast test ${Math.random().toString(36).slice(2)}`
    const store = await openStore({ pool: await testPool({ application_name: name }), ...options })
    await addFiles(store.schema, { root: (await store.createShare('share')).root, count: 20_000 })
    const pool = await sharedPool()
    let [most, tries] = [0, 0]
    const onWrite = async (): Promise<void> => {
      for (; tries < 50 && most < 2; tries++) {
        const { rows } = await pool.query('SELECT FROM pg_stat_activity WHERE application_name = $1 AND xact_start IS NOT NULL', [name])
        most = Math.max(most, rows.length)
        await delay(10)
      }
    }
    await snapshotOf(store, { onWrite })
    expect(most).toBe(expected)
  })

  test.each([
    ['ALTER TABLE inodes ADD COLUMN note text', 'column "inodes"."note" of the schema is not in a metadata store of version 1'],
    ['ALTER TABLE settings ADD COLUMN number serial', 'column "settings"."number" of the schema is not'],
    ['ALTER TABLE entries DROP COLUMN type CASCADE', 'column "entries"."type" of a metadata store of version 1 is missing in the schema'],
    ['ALTER TABLE uploads ALTER COLUMN started_at_ms TYPE numeric', 'column "uploads"."started_at_ms" is of type bigint in a metadata store of version 1 and of type numeric in the schema'],
    ['CREATE TABLE notes (note text)', 'table "notes" of the schema is not'],
    ['DROP TABLE locks', 'table "locks" of a metadata store of version 1 is missing in the schema'],
    ['CREATE SEQUENCE numbers', 'sequence "numbers" of the schema is not'],
  ])('backup() of a store with %j is schema_version_mismatch, as its restore would be, and writes nothing', async (change, difference) => {
    const store = await openStore()
    await inSchema(await sharedPool(), store.schema, (client) => client.query(change))
    const sink = new CollectingSink()
    const error = await refused(store.backup(sink), 'schema_version_mismatch')
    expect(error).toMatchObject({ message: expect.stringContaining(difference) as string, hint: expect.stringContaining('Drop what was added by hand') as string })
    expect(sink.chunks).toEqual([])
  })

  test('backup() takes what no restore minds: constraints, indexes, views, comments and computed columns that were added by hand', async () => {
    const [source, target] = [await openStore(), await openStore()]
    await fillStore(source)
    await inSchema(await sharedPool(), source.schema, (client) =>
      client.query(`ALTER TABLE inodes ADD CONSTRAINT small CHECK (size >= 0), ADD COLUMN kib bigint GENERATED ALWAYS AS (size / 1024) STORED;
        CREATE INDEX ON entries (name); CREATE VIEW files AS SELECT * FROM inodes; COMMENT ON TABLE locks IS 'ours'`),
    )
    await restoreBytes(target, (await snapshotOf(source)).bytes)
    expect(await dumpStore(target)).toEqual(await dumpStore(source))
  })

  test('restore() is refused with restore_in_progress while writers are held off, and a backup is not', async () => {
    const [source, target] = [await openStore(), await openStore()]
    await fillStore(source)
    const { bytes } = await snapshotOf(source)
    const client = await (await sharedPool()).connect()
    onTestFinished(() => client.release(true))
    await client.query('SELECT pg_advisory_lock($1, $2)', [...lockKey('writes', target.schema)])
    await refused(restoreBytes(target, bytes), 'restore_in_progress')
    await snapshotOf(target)
    await client.query('SELECT pg_advisory_unlock_all()')
    await restoreBytes(target, bytes)
  })
})
