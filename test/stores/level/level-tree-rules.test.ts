/** No store whose records do not fit together is backed up, and no backup of one is restored, whatever its manifest and digests say. */
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { MemoryLevel } from 'memory-level'
import { describe, expect, onTestFinished, test } from 'vitest'
import { fsDestination } from '../../../destinations/fs/index.ts'
import type { Destination } from '../../../src/contracts/destination.ts'
import { checkTree } from '../../../src/metadata/check-tree.ts'
import { verifyBackup } from '../../../src/repository/verify-backup.ts'
import { findContentCheck } from '../../../src/registry/content-checks.ts'
import { restoreBackup } from '../../../src/restore/restore-backup.ts'
import { type ReadableTrial, restoreSubtree } from '../../../src/restore/subtree/restore-subtree.ts'
import { levelBackupable } from '../../../src/stores/level/engine/level-backupable.ts'
import { openLevelStore } from '../../../src/stores/level/index.ts'
import { openLevelTrial } from '../../../src/stores/level/level-trial.ts'
import * as keys from '../../../src/stores/level/store/keys.ts'
import { LevelMetadataStore } from '../../../src/stores/level/store/level-metadata-store.ts'
import { payloadIds } from '../../../src/stores/level/store/payload-ids-of-record.ts'
import { openMemoryStore } from '../../../src/stores/memory/index.ts'
import { CollectingSink } from '../../conformance/backupable-fixture.ts'
import { newHolds } from '../../gc/holds.ts'
import { publish, takeBackup } from '../../restore/publish.ts'
import { altered } from '../../support/altered.ts'
import { quickFiles } from '../../support/faulty-files.ts'
import { fillStore } from '../../support/fill-store.ts'
import { tempDir } from '../../support/temp-dir.ts'

type Records = Map<string, string>

const MAX = Number.MAX_SAFE_INTEGER
const STORE_ID = '01JGZ7GK3G0000000000000000'

/** Changes one record. */
const edit = (key: string, from: string, to: string) => (records: Records): void => {
  const value = records.get(key)
  if (value?.includes(from) !== true) throw new Error(`${key} has no ${from}`)
  records.set(key, value.replace(from, to))
}
const put = (key: string, value: string) => (records: Records): void => void records.set(key, value)
const each = (...changes: readonly ((records: Records) => void)[]) => (records: Records): void => changes.forEach((change) => change(records))
const entry = (parent: number, name: string): string => keys.entryKey({ parent, name })
const points = (inode: number, type = 'directory'): string => `{"inode":${inode},"type":"${type}"}`
const drop = (key: string) => (records: Records): void => {
  if (!records.delete(key)) throw new Error(`There is no ${key}`)
}

/**
 * A whole store: share s (inode 1) with directory d (2), in it directory e (3) and file f (4), which is also e/g; share t (5) with file b (6)
 * of 1,500 blocks; upload u with 2 blocks.
 */
async function wholeRecords(): Promise<Records> {
  const db = new MemoryLevel()
  await using store = await LevelMetadataStore.open(db, { kind: 'memory', storeId: STORE_ID })
  const s = await store.createShare('s')
  const d = await store.create({ parent: s.root, name: 'd' }, { type: 'directory' })
  const e = await store.create({ parent: d.inode, name: 'e' }, { type: 'directory' })
  const f = await store.create({ parent: d.inode, name: 'f' }, { type: 'file', size: 7, content: { payloadId: 'p' } })
  await store.link({ parent: e.inode, name: 'g' }, f.inode)
  await store.lock({ inode: f.inode, owner: 'o', kind: 'shared', start: 0, end: undefined })
  const t = await store.createShare('t')
  const blocks = Array.from({ length: 1500 }, (_, at) => ({ payloadId: `b${at % 9}`, offset: at, bytes: 1 }))
  await store.create({ parent: t.root, name: 'b' }, { type: 'file', size: 1500, content: { blocks } })
  await store.putUpload({ uploadId: 'u', parent: d.inode, name: 'n', startedAtMs: 0, blocks: blocks.slice(0, 2) })
  await store.putUpload({ uploadId: 'v', parent: d.inode, name: 'n', startedAtMs: 0, blocks: blocks.slice(0, 2) })
  return new Map(await db.iterator().all())
}

/** A way to forge a store, and the inode and rule that are told. */
const FORGED: readonly (readonly [what: string, change: (records: Records) => void, told: string])[] = [
  ['the next inode number is in use', put('counters/next-inode', '4'), 'inode 6: the next inode would get number 4, which is not greater'],
  ['the next inode number is the last there is', put('counters/next-inode', String(MAX)), `next inode: number ${MAX} leaves too few numbers for new inodes`],
  ['the next inode number is absent', drop('counters/next-inode'), 'inode 6: the next inode would get number 1, which is not greater'],
  ['the used bytes are 1e30', put('counters/used-bytes', `1${'0'.repeat(30)}`), `used bytes: recorded as 1${'0'.repeat(30)}, but sizes add up to 1507`],
  ['the used bytes are one less', put('counters/used-bytes', '1506'), 'used bytes: recorded as 1506, but sizes add up to 1507'],
  ['a directory is in itself', each(drop(entry(2, 'e')), edit(keys.inodeKey(2), '"links":3', '"links":2'), put(entry(3, 'e'), points(3)), edit(keys.inodeKey(3), '"parent":2', '"parent":3')), 'inode 3: the directory is in itself'],
  ['a directory is in itself, and in its place too', each(put(entry(3, 'x'), points(3)), edit(keys.inodeKey(3), '"links":2', '"links":3')), 'inode 3: the directory is in more than one place'],
  [
    'two directories are in each other',
    each(
      drop(entry(1, 'd')), put(entry(3, 'd'), points(2)), edit(keys.inodeKey(2), '"parent":1', '"parent":3'),
      edit(keys.inodeKey(1), '"links":3', '"links":2'), edit(keys.inodeKey(3), '"links":2', '"links":3'),
    ),
    'inode 2: the directory is below no share, for the way up from it is a ring',
  ],
  ['a directory is in two places', each(put(entry(1, 'e'), points(3)), edit(keys.inodeKey(1), '"links":3', '"links":4')), 'inode 3: the directory is in more than one place'],
  ['a directory is elsewhere than its record says', edit(keys.inodeKey(3), '"parent":2', '"parent":1'), 'inode 3: the directory is in 2, but its record says 1'],
  ['a directory has no name', each(drop(entry(2, 'e')), edit(keys.inodeKey(2), '"links":3', '"links":2')), 'inode 3: no entry names the directory'],
  ['a file has no name', each(drop(entry(2, 'f')), drop(entry(3, 'g'))), 'inode 4: no entry names it'],
  ['an entry has another type than its file', put(entry(2, 'f'), points(4, 'fifo')), 'inode 4: is a file, but an entry says that it is something else'],
  ['all entries have another type than their file', each(put(entry(2, 'f'), points(4, 'socket')), put(entry(3, 'g'), points(4, 'socket'))), 'inode 4: is a file, but an entry says that it is a socket'],
  ['an entry says that a file is a directory', each(put(entry(2, 'f'), points(4)), edit(keys.inodeKey(2), '"links":3', '"links":4')), 'inode 4: is a file, but an entry says that it is a directory'],
  ['an entry says that a directory is a file', each(put(entry(2, 'e'), points(3, 'file')), edit(keys.inodeKey(2), '"links":3', '"links":2')), 'inode 3: is a directory, but an entry says that it is a file'],
  ['an entry names an inode that is missing', put(entry(1, 'x'), points(99, 'file')), 'inode 99: is missing, but an entry names it as a file'],
  ['an entry names a directory that is missing', each(put(entry(1, 'x'), points(99)), edit(keys.inodeKey(1), '"links":3', '"links":4')), 'inode 99: is missing, but an entry in directory 1 names it as a directory'],
  ['an entry is in a directory that is missing', each(put(entry(99, 'x'), points(4, 'file')), edit(keys.inodeKey(4), '"links":2', '"links":3')), 'inode 99: is missing, but it has entries'],
  ['an entry is in a file', each(put(entry(4, 'x'), points(4, 'file')), edit(keys.inodeKey(4), '"links":2', '"links":3')), 'inode 4: is a file, but has entries'],
  ['a file has fewer links than names', edit(keys.inodeKey(4), '"links":2', '"links":1'), 'inode 4: link count is 1, should be 2'],
  ['a file has more links than names', edit(keys.inodeKey(4), '"links":2', `"links":${MAX}`), `inode 4: link count is ${MAX}, should be 2`],
  ['a directory has other links than directories', edit(keys.inodeKey(2), '"links":3', '"links":2'), 'inode 2: link count is 2, should be 3'],
  ['two shares have one root', put('shares/u', '{"root":1,"createdAtMs":0,"options":[]}'), 'inode 1: is the root of 2 shares'],
  ['a share has a root below another', put('shares/u', '{"root":2,"createdAtMs":0,"options":[]}'), 'inode 2: is the root of a share, but not a directory outside all others'],
  ['a share has a file as its root', put('shares/u', '{"root":4,"createdAtMs":0,"options":[]}'), 'inode 4: is the root of a share, but not a directory outside all others'],
  ['a root has no share', drop('shares/t'), 'inode 5: is the root of 0 shares'],
  ['a root is also in a directory', each(put(entry(1, 'x'), points(5)), edit(keys.inodeKey(1), '"links":3', '"links":4')), 'inode 5: is a root, but an entry in directory 1 names it'],
  ['two block lists have each other’s number of blocks', each(edit(keys.inodeKey(6), '"blockCount":1500', '"blockCount":1499'), edit('uploads/u', '"blockCount":2', '"blockCount":3')), 'inode 6: block count is 1499, should be 1500'],
  ['two uploads have each other’s number of blocks', each(edit('uploads/u', '"blockCount":2', '"blockCount":3'), edit('uploads/v', '"blockCount":2', '"blockCount":1')), 'an upload has 1 block'],
  ['the parts of a block list are not numbered from 0', (records) => {
    records.set(keys.blocksKey(6, 7), records.get(keys.blocksKey(6, 1)) ?? '')
    records.delete(keys.blocksKey(6, 1))
  }, 'block list "blocks/0000000000000006": part 7 does not follow the part before'],
  ['a lock is on a directory', put(keys.lockKey(2, 0, 'o'), '{"kind":"shared"}'), 'inode 2: has a lock, but is a directory'],
  ['a lock is on an inode that is missing', put(keys.lockKey(99, 0, 'o'), '{"kind":"shared"}'), 'inode 99: has a lock, but is missing'],
]

async function databaseOf(change: (records: Records) => void, db: MemoryLevel | ClassicLevel = new MemoryLevel()): Promise<typeof db> {
  const records = await wholeRecords()
  change(records)
  await db.open()
  await db.batch([...records].map(([key, value]) => ({ type: 'put', key, value })))
  onTestFinished(() => db.close())
  return db
}

/** Publishes a backup without checking it. Resolves with its ID. */
async function forgedBackup(change: (records: Records) => void, destination: Destination): Promise<string> {
  const db = await databaseOf(change)
  const unchecked = levelBackupable(db, { payloadIds, sections: keys.SECTIONS, ownKeys: keys.STORE_KEYS, storeId: STORE_ID, encoding: 'text' })
  return await publish(destination, await takeBackup(unchecked))
}

async function memoryTrial(): Promise<ReadableTrial> {
  const store = await LevelMetadataStore.open(new MemoryLevel(), { kind: 'memory' })
  return altered(store as unknown as ReadableTrial, { discard: () => store.close() })
}

async function emptyPlace(): Promise<Destination> {
  return fsDestination({ path: join(await tempDir(), 'backups'), files: quickFiles })
}

const inconsistent = (told: string): object => ({ code: 'store_inconsistent', message: expect.stringContaining(`Tree check failed: ${told}`) as string })

describe('a backup whose records do not fit together', () => {
  test.each(FORGED)('is not restored, nor verified by a trial, nor restored in part, and is never made: %s', async (_, change, told) => {
    const destination = await emptyPlace()
    const backupId = await forgedBackup(change, destination)
    await using target = await openMemoryStore()
    const { root } = await target.createShare('live')
    const engines = await target.engines()
    await expect(restoreBackup({ target, destination, backupId, allowStoreId: true })).rejects.toMatchObject(inconsistent(told))
    expect(await target.engines()).toEqual(engines)
    expect(await target.shares()).toMatchObject([{ name: 'live' }])

    await expect(verifyBackup({ destination, backupId, level: 'restore', openTrial: memoryTrial })).rejects.toMatchObject(inconsistent(told))
    const isOfLock = told.includes('has a lock')
    if (!isOfLock) await expect(verifyBackup({ destination, backupId, contentCheck: findContentCheck })).rejects.toMatchObject(inconsistent(told))
    await expect(restoreSubtree({ store: target, destination, backupId, path: 's', toPath: 'live/s', allowStoreId: true, openTrial: memoryTrial })).rejects.toMatchObject(inconsistent(told))
    expect((await target.readDirectory(root)).entries).toEqual([])

    await using store = await LevelMetadataStore.open(await databaseOf(change), { kind: 'memory' })
    const sink = new CollectingSink()
    await expect(store.backup(sink)).rejects.toMatchObject(inconsistent(told))
    expect(sink.summary).toBeUndefined()
  })

  test('is bad from its verification by a trial on', async () => {
    const { destination, catalog } = await newHolds()
    const backupId = await forgedBackup(drop('shares/t'), destination)
    const directory = await tempDir()
    const openTrial = (): ReturnType<typeof openLevelTrial> => openLevelTrial(directory, { onWarning: () => expect.fail('warned') })
    await expect(verifyBackup({ destination, backupId, catalog, level: 'restore', openTrial })).rejects.toMatchObject(inconsistent('inode 5: is the root of 0 shares'))
    expect((await catalog.backup(backupId, destination.url))?.verification).toMatchObject({ error: { code: 'store_inconsistent' } })
  })

  test('is not restored into a LevelDB store in service either', async () => {
    const destination = await emptyPlace()
    const backupId = await forgedBackup(FORGED[5]?.[1] ?? (() => undefined), destination)
    await using target = await openLevelStore(join(await tempDir(), 'store'))
    const engines = await target.engines()
    await expect(restoreBackup({ target, destination, backupId, allowStoreId: true })).rejects.toMatchObject(inconsistent('inode 3: the directory is in itself'))
    expect(await target.engines()).toEqual(engines)
  })

  test('is not made in a worker thread either', async () => {
    const db = await databaseOf(put('counters/next-inode', '4'), new ClassicLevel(join(await tempDir(), 'db'), { multithreading: true }))
    await using store = await LevelMetadataStore.open(db, { kind: 'level', multithreading: true })
    await expect(store.backup(new CollectingSink())).rejects.toMatchObject(inconsistent('inode 6: the next inode'))
  })
})

test('a whole store, and one with something of every kind in it, is backed up and restored', async () => {
  const destination = await emptyPlace()
  await using store = await LevelMetadataStore.open(await databaseOf(() => undefined), { kind: 'memory' })
  await fillStore(store)
  expect(await checkTree(store)).toEqual([])
  await using target = await openMemoryStore()
  await restoreBackup({ target, destination, backupId: await publish(destination, await takeBackup(store)), allowStoreId: true })
  expect(await checkTree(target)).toEqual([])
})

test('checkTree() tells the same of a live store', async () => {
  for (const [what, change, told] of FORGED) {
    // What only records have: a view gives block lists as they are read.
    if (told.startsWith('block list') || told.startsWith('an upload') || what.startsWith('the used bytes are 1e30')) continue
    await using store = await LevelMetadataStore.open(await databaseOf(change), { kind: 'memory' })
    expect(await checkTree(store), what).toContain(told)
  }
})
