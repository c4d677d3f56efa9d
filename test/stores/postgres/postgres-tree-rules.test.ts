/** What no metadata store writes: rows that do not fit together are neither backed up nor restored, though constraints and triggers were off. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { fsDestination } from '../../../destinations/fs/index.ts'
import { verifyBackup } from '../../../src/repository/verify-backup.ts'
import { restoreBackup } from '../../../src/restore/restore-backup.ts'
import { PAYLOAD_IDS, type PostgresMetadataStore } from '../../../src/stores/postgres/store/postgres-metadata-store.ts'
import { postgresBackupable } from '../../../src/stores/postgres/snapshot/postgres-backupable.ts'
import { OWN_TABLES } from '../../../src/stores/postgres/store/tables.ts'
import { CollectingSink, snapshotOf } from '../../conformance/backupable-fixture.ts'
import { publish, takeBackup } from '../../restore/publish.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { schemaName, storeIn } from './homes.ts'
import { openStore } from './metadata-stores.ts'
import { inSchema, sharedPool } from './schemas.ts'

type OpenedStore = PostgresMetadataStore & { readonly schema: string }

/**
 * Shares `s` and `t` with the roots 1 and 5. Below 1 a directory `d` (2), in it a directory `e` (3) and a file `f` (4), which is also
 * `d/e/g`; below 5 a file (6) of three blocks. An upload of two blocks.
 */
async function madeStore(): Promise<OpenedStore> {
  const store = await openStore()
  const { root } = await store.createShare('s')
  const { inode: d } = await store.create({ parent: root, name: 'd' }, { type: 'directory' })
  const { inode: e } = await store.create({ parent: d, name: 'e' }, { type: 'directory' })
  const { inode: f } = await store.create({ parent: d, name: 'f' }, { type: 'file', size: 7, content: { payloadId: 'p' } })
  await store.link({ parent: e, name: 'g' }, f)
  const { root: other } = await store.createShare('t')
  const blocks = ['a', 'b', 'c'].map((payloadId) => ({ payloadId, offset: 0, bytes: 1 }))
  await store.create({ parent: other, name: 'b' }, { type: 'file', size: 3, content: { blocks } })
  await store.putUpload({ uploadId: 'u', parent: other, name: 'x', startedAtMs: 0, blocks: blocks.slice(1) })
  return store
}

/** Runs statements with the triggers switched off, and the foreign keys with them. */
async function forge(schema: string, statements: string): Promise<void> {
  await inSchema(await sharedPool(), schema, async (client) => {
    await client.query('SET LOCAL session_replication_role = replica')
    await client.query(statements)
  })
}

const FORGED: readonly (readonly [what: string, statements: string, told: string])[] = [
  ['a file has other links than names', 'UPDATE inodes SET links = 77 WHERE inode = 4', 'inode 4 says 77 links, and has 2'],
  ['a directory has other links than directories', 'UPDATE inodes SET links = 2 WHERE inode = 2', 'directory 2 says 2 links, and has 3'],
  ['a file has no name', 'DELETE FROM entries WHERE inode = 4', 'no entry names inode 4'],
  ['a file has no name, and no links', 'DELETE FROM entries WHERE inode = 4; UPDATE inodes SET links = 0 WHERE inode = 4', 'no entry names inode 4'],
  ['an entry has another type than its file', "UPDATE entries SET type = 'fifo' WHERE name = 'f'", `entry "f" in 2 says that inode 4 is a fifo`],
  ['an entry is in a file', "UPDATE entries SET parent = 6 WHERE name = 'g'", 'entry "g" is in inode 6, which is not a directory'],
  ['a directory is in itself', "UPDATE entries SET parent = 3 WHERE name = 'e'; UPDATE inodes SET links = 5 - links WHERE inode IN (2, 3)", 'directory 3 is in no share'],
  [
    'two directories are in each other',
    "UPDATE entries SET parent = 3 WHERE name = 'd'; UPDATE inodes SET links = 2 WHERE inode = 1; UPDATE inodes SET links = 3 WHERE inode = 3",
    'is in no share',
  ],
  ['a directory has no name', "DELETE FROM entries WHERE name = 'e'; UPDATE inodes SET links = 2 WHERE inode = 2", 'directory 3 is in no share'],
  ['a root has no share', "DELETE FROM shares WHERE name = 't'", 'directory 5 is in no share'],
  ['a share has a file as its root', "INSERT INTO shares VALUES ('u', 4, 0, '{}')", 'share "u" has the root 4, which is not a directory of its own'],
  ['a share has a root in another', "INSERT INTO shares VALUES ('u', 3, 0, '{}')", 'share "u" has the root 3, which is not a directory of its own'],
  ['the next number is in use', "SELECT setval('inode_numbers', 4)", 'inode 5 has a number that would be given again'],
  ['the next number is the last there is', `SELECT setval('inode_numbers', ${Number.MAX_SAFE_INTEGER})`, 'which leaves too few for those after it'],
  ['blocks are not numbered from 0', 'UPDATE blocks SET position = position + 10', 'inode 6 says 3 blocks, and has 3'],
  ['a file has fewer blocks than it says', 'UPDATE inodes SET block_count = 4 WHERE inode = 6; UPDATE uploads SET block_count = 1', 'inode 6 says 4 blocks, and has 3'],
  ['the used bytes are others', 'UPDATE used_bytes SET bytes = bytes + 1 WHERE part = (SELECT min(part) FROM used_bytes)', 'used bytes are recorded as 11, and add up to 10'],
  ['a directory is locked', "INSERT INTO locks VALUES (3, 'o', 'shared', 0, NULL)", 'inode 3 has a lock, and is not a file'],
]

/** Broken by rows as well, but told by the server itself while they are restored. */
const REFUSED_BY_SERVER: readonly (readonly [what: string, statements: string, told: string])[] = [
  ['an entry names an inode that is missing', "INSERT INTO entries VALUES (1, 'x', 99, 'file')", 'entry "x" in 1 says that inode 99 is a file'],
  ['an entry is in a directory that is missing', "UPDATE entries SET parent = 99 WHERE name = 'g'", 'entry "g" is in inode 99, which is not a directory'],
  ['a share has a root that is missing', "INSERT INTO shares VALUES ('u', 99, 0, '{}')", 'share "u" has the root 99'],
  ['blocks are of a file that is missing', "INSERT INTO blocks VALUES (99, 0, 'z', 0, 1); UPDATE inodes SET block_count = 4 WHERE inode = 6", 'blocks, and has'],
  ['a lock is of a file that is missing', "INSERT INTO locks VALUES (99, 'o', 'shared', 0, NULL)", 'inode 99 has a lock, and is not a file'],
  [
    'a directory is in two places',
    "DROP INDEX entries_directory; INSERT INTO entries VALUES (1, 'x', 3, 'directory'); UPDATE inodes SET links = links + 1 WHERE inode = 1",
    'directory 3 is in more than one place',
  ],
  ['a constraint is gone', 'ALTER TABLE inodes DROP CONSTRAINT inodes_mode_check; UPDATE inodes SET mode = 9999 WHERE inode = 4', 'table inodes has lost a constraint'],
  [
    'a constraint was not validated',
    'ALTER TABLE inodes DROP CONSTRAINT inodes_mode_check; UPDATE inodes SET mode = 9999 WHERE inode = 4; ALTER TABLE inodes ADD CHECK (mode < 4096) NOT VALID',
    'table inodes has lost a constraint, or one that was not validated',
  ],
]

const inconsistent = (told: string): object => ({ code: 'store_inconsistent', message: expect.stringContaining(told), hint: expect.stringContaining('holdfast check') })

describe('a Postgres metadata store with rows that do not fit together', () => {
  test.each([...FORGED, ...REFUSED_BY_SERVER])('is not backed up: %s', async (_, statements, told) => {
    const store = await madeStore()
    await snapshotOf(store)
    await forge(store.schema, statements)
    const sink = new CollectingSink()
    await expect(store.backup(sink)).rejects.toMatchObject(inconsistent(told))
    expect(sink.summary).toBeUndefined()
  })

  test.each(FORGED)('is not restored, nor verified by a trial: %s', async (_, statements, told) => {
    const { destination, backupId } = await forgedBackup(statements)
    const schema = await schemaName()
    const target = await storeIn(schema)
    await target.createShare('live')
    const engines = await target.engines()
    await expect(restoreBackup({ target, destination, backupId, allowStoreId: true })).rejects.toMatchObject(inconsistent(told))
    expect(await target.engines()).toEqual(engines)
    expect(await target.shares()).toMatchObject([{ name: 'live' }])

    const trial = await openStore()
    const openTrial = async () => Object.assign(trial, { discard: async () => undefined })
    await expect(verifyBackup({ destination, backupId, level: 'restore', openTrial })).rejects.toMatchObject({ code: 'store_inconsistent', message: expect.stringContaining(told) })
    expect(await trial.shares()).toEqual([])
  })

  test.each(REFUSED_BY_SERVER)('is not restored, as the server says: %s', async (_, statements) => {
    const { destination, backupId } = await forgedBackup(statements)
    const target = await storeIn(await schemaName())
    await expect(restoreBackup({ target, destination, backupId, allowStoreId: true })).rejects.toMatchObject({ code: 'restore_corrupt' })
    expect(await target.shares()).toEqual([])
  })
})

/** A backup by a session that asks nothing of the rows but payload IDs. */
async function forgedBackup(statements: string): Promise<{ readonly destination: ReturnType<typeof fsDestination>; readonly backupId: string }> {
  const { schema, storeId, schemaVersion } = await madeStore()
  await forge(schema, statements)
  const unchecked = postgresBackupable(await sharedPool(), { schema, payloadIds: PAYLOAD_IDS, storeId, schemaVersion, leaveOut: OWN_TABLES })
  const destination = fsDestination({ path: join(await tempDir(), 'backups') })
  return { destination, backupId: await publish(destination, await takeBackup(unchecked)) }
}
