/** The set of payload IDs is what the records refer to, or there is no backup. */
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { MemoryLevel } from 'memory-level'
import { describe, expect, onTestFinished, test } from 'vitest'
import { fsDestination } from '../../../destinations/fs/index.ts'
import { runBackup } from '../../../src/backup/run-backup.ts'
import type { Destination } from '../../../src/contracts/destination.ts'
import { restoreBackup } from '../../../src/restore/restore-backup.ts'
import { openLevelStore } from '../../../src/stores/level/index.ts'
import * as keys from '../../../src/stores/level/store/keys.ts'
import { levelBackupable } from '../../../src/stores/level/engine/level-backupable.ts'
import { LevelMetadataStore } from '../../../src/stores/level/store/level-metadata-store.ts'
import { payloadIds } from '../../../src/stores/level/store/payload-ids-of-record.ts'
import type { LevelDatabase } from '../../../src/stores/level/engine/text-database.ts'
import { openMemoryStore } from '../../../src/stores/memory/index.ts'
import { CollectingSink, snapshotOf } from '../../conformance/backupable-fixture.ts'
import { newHolds } from '../../gc/holds.ts'
import { publish, takeBackup } from '../../restore/publish.ts'
import { altered } from '../../support/altered.ts'
import { collect } from '../../support/collect.ts'
import { fillStore } from '../../support/fill-store.ts'
import { tempDir } from '../../support/temp-dir.ts'

interface Opened {
  readonly db: LevelDatabase
  readonly store: LevelMetadataStore
}

async function open(engine: 'memory' | 'level in a worker'): Promise<Opened> {
  const multithreading = engine === 'level in a worker'
  const db = multithreading ? new ClassicLevel(join(await tempDir(), 'db'), { multithreading }) : new MemoryLevel()
  const store = await LevelMetadataStore.open(db, { kind: multithreading ? 'level' : 'memory', multithreading, durable: false })
  onTestFinished(() => store.close())
  await fillStore(store)
  return { db, store }
}

async function recordsOf(db: LevelDatabase, section: keys.SectionName): Promise<readonly (readonly [string, string])[]> {
  return await db.iterator<string, string>(keys.sectionRange(section)).all()
}

/** The error of a backup of a store that has other records than it should; it is put right again afterwards. */
async function failureWith({ db, store }: Opened, key: string, value: string | undefined): Promise<{ readonly code: string; readonly message: string; readonly details: unknown }> {
  const before = await db.get(key)
  await (value === undefined ? db.del(key) : db.put(key, value))
  const sink = new CollectingSink()
  const failure = await store.backup(sink).then(() => ({ code: 'none', message: '', details: {} }), (error: { code: string; message: string; details: unknown }) => error)
  if (failure.code !== 'none') expect(sink.summary).toBeUndefined()
  await (before === undefined ? db.del(key) : db.put(key, before))
  return failure
}

describe('LevelMetadataStore backup() is refused with store_inconsistent', () => {
  test('when any one reference is not in the index', async () => {
    const opened = await open('memory')
    const references = await recordsOf(opened.db, 'references')
    expect(references.length).toBeGreaterThan(1000)
    for (const [key] of references.filter((_, at) => at % 97 === 0 || at < 5)) {
      expect(await failureWith(opened, key, undefined), key).toMatchObject({
        code: 'store_inconsistent',
        details: { expected: { references: references.length }, actual: { references: references.length - 1 } },
      })
    }
    await snapshotOf(opened.store)
  })

  test.each([keys.inodeOwner(3), keys.uploadOwner('none'), keys.uploadOwner('upload é')])('when the index has a reference of %s that nothing makes', async (owner) => {
    const opened = await open('memory')
    expect(await failureWith(opened, keys.referenceKey('stray', owner), '')).toMatchObject({ code: 'store_inconsistent' })
  })

  test('when an inode, a block list or an upload refers to another payload than the index says, as often', async () => {
    const opened = await open('memory')
    const changed: string[] = []
    for (const section of ['inodes', 'blocks', 'upload-blocks'] as const) {
      for (const [key, value] of await recordsOf(opened.db, section)) {
        for (const [from, to] of [['block-699', 'block-698x'], ['a/b', 'a-b'], ['"block-0"', '"block-O"']] as const) {
          if (!value.includes(from)) continue
          changed.push(section)
          expect(await failureWith(opened, key, value.replaceAll(from, to)), `${key} ${from}`).toMatchObject({ code: 'store_inconsistent' })
        }
      }
    }
    expect(new Set(changed)).toEqual(new Set(['inodes', 'blocks', 'upload-blocks']))
  })

  test('when a reference is that of another inode', async () => {
    const opened = await open('memory')
    const [key = ''] = (await recordsOf(opened.db, 'references')).find(([key]) => key.includes(' i')) ?? []
    await opened.db.put(keys.referenceKey(keys.payloadIdOfReference(key), keys.inodeOwner(12_345)), '')
    expect(await failureWith(opened, key, undefined)).toMatchObject({ code: 'store_inconsistent' })
  })

  test('when a part of a block list is gone whose payloads the index still has by another part, or not at all', async () => {
    const opened = await open('memory')
    const lists = [...(await recordsOf(opened.db, 'blocks')), ...(await recordsOf(opened.db, 'upload-blocks'))]
    expect(lists).toHaveLength(5)
    for (const [key] of lists) expect(await failureWith(opened, key, undefined), key).toMatchObject({ code: 'store_inconsistent' })
  })

  test('when an upload counts other blocks than it has', async () => {
    const opened = await open('memory')
    for (const [key, value] of await recordsOf(opened.db, 'uploads')) {
      expect(await failureWith(opened, key, value.replace(/"blockCount":\d+/, '"blockCount":3'))).toMatchObject({ code: 'store_inconsistent', message: expect.stringContaining('blocks') as string })
    }
  })

  test('in a worker thread too, naming both counts', async () => {
    const opened = await open('level in a worker')
    const references = await recordsOf(opened.db, 'references')
    expect(await failureWith(opened, references[0]?.[0] ?? '', undefined)).toMatchObject({
      code: 'store_inconsistent',
      message: `Payload reference check failed: the index has ${references.length - 1} references, inodes, block lists and uploads make ${references.length}`,
    })
    await snapshotOf(opened.store)
  })
})

test('payload IDs of any length and character are counted alike', async () => {
  const { db, store } = await open('memory')
  const { root = 0 } = (await store.share('share')) ?? {}
  const characters = Array.from({ length: 0x7e - 0x20 }, (_, at) => String.fromCharCode(0x21 + at))
  const ids = [...characters, ...characters.map((character) => character.repeat(7)), ...[1, 2, 3, 4, 5, 11, 12, 13, 63, 64, 65, 127, 254, 255].map((length) => 'x'.repeat(length)), ',"payloadId":"', '"}', 'sha256:ab']
  for (const [at, payloadId] of ids.entries()) {
    await store.create({ parent: root, name: `one ${at}` }, { type: 'file', content: { payloadId } })
    await store.create({ parent: root, name: `none ${at}` }, { type: at % 2 === 0 ? 'file' : 'directory' })
    await store.create({ parent: root, name: `list ${at}` }, { type: 'file', size: at, content: { blocks: [0, 1, 2].map((offset) => ({ payloadId, offset, bytes: 1 })) } })
  }
  await store.putUpload({ uploadId: 'ab i0000000000000001', parent: root, name: 'new', startedAtMs: 0, blocks: ids.map((payloadId) => ({ payloadId, offset: 0, bytes: 1 })) })
  expect((await snapshotOf(store)).payloadIds).toEqual(expect.arrayContaining(ids))
  const inodes = await recordsOf(db, 'inodes')
  for (const [key, value] of inodes.filter(([, value]) => value.includes(',"payloadId":"')).filter((_, at) => at % 10 === 0)) {
    expect(await failureWith({ db, store }, key, value.replace(/,"payloadId":.*\}$/, '}')), value).toMatchObject({ code: 'store_inconsistent' })
  }
})

/** A backup of a store that lacks a reference, made without counting. */
async function uncountedBackup(destination: Destination): Promise<string> {
  const { db, store } = await open('memory')
  const [first] = await recordsOf(db, 'references')
  await db.del(first?.[0] ?? '')
  const { storeId, schemaVersion } = store
  return await publish(destination, await takeBackup(levelBackupable(db, { payloadIds, sections: keys.SECTIONS, ownKeys: keys.STORE_KEYS, storeId, schemaVersion, encoding: 'text' })))
}

describe.each([
  ['memory', () => openMemoryStore()],
  ['level', async () => await openLevelStore(join(await tempDir(), 'store'))],
] as const)('restoreBackup() into a %s store', (_, openStore) => {
  test('is refused with store_inconsistent before the swap when what was restored does not fit, though it is what the manifest says', async () => {
    await using store = await openStore()
    const destination = fsDestination({ path: join(await tempDir(), 'backups') })
    await store.createShare('live')
    const engines = await store.engines()
    const backupId = await uncountedBackup(destination)
    await expect(restoreBackup({ target: store, destination, backupId, allowStoreId: true })).rejects.toMatchObject({ code: 'store_inconsistent' })
    expect(await store.engines()).toEqual(engines)
    expect(await store.shares()).toMatchObject([{ name: 'live' }])
  })
})

test('restoreBackup() is refused with store_inconsistent when the side engine was changed after it was filled', async () => {
  const path = join(await tempDir(), 'store')
  await using store = await openLevelStore(path)
  await fillStore(store)
  const { holds, catalog, destination } = await newHolds()
  const { backupId } = await runBackup({ store, destination, catalog })
  const engines = await store.engines()
  const target = altered(store, {
    openSide: async (engine, options) => {
      const side = await store.openSide(engine, options)
      return altered(side, {
        restore: async (source, restoreOptions) => {
          await side.restore(source, restoreOptions)
          const db = new ClassicLevel(join(path, 'engines', engine), { multithreading: true })
          await db.del((await recordsOf(db, 'references'))[0]?.[0] ?? '')
          await db.close()
        },
      })
    },
  })
  await expect(restoreBackup({ target, destination, backupId, holds })).rejects.toMatchObject({ code: 'store_inconsistent' })
  expect(await store.engines()).toEqual(engines)
  expect(await catalog.leases()).toEqual([])
  await restoreBackup({ target: store, destination, backupId, holds })
})

test('runBackup() of a store that does not fit publishes nothing, is recorded as failed, and holds nothing afterwards', async () => {
  const { db, store } = await open('memory')
  const [first] = await recordsOf(db, 'references')
  await db.del(first?.[0] ?? '')
  const { holds, catalog, destination } = await newHolds()
  await expect(runBackup({ store, destination, catalog, holds })).rejects.toMatchObject({ code: 'store_inconsistent' })
  expect(await collect(destination.list())).toEqual([])
  expect(await collect(catalog.jobs())).toMatchObject([{ state: 'failed', error: { code: 'store_inconsistent' } }])
  expect(await catalog.leases()).toEqual([])
})

describe('levelBackupable() with countPayloadIds', () => {
  async function database(): Promise<MemoryLevel> {
    const db = new MemoryLevel()
    onTestFinished(() => db.close())
    for (let at = 0; at < 3000; at++) await db.put(`f${String(at).padStart(4, '0')}`, `p${at % 1000}`)
    await db.put('count', '1000')
    return db
  }

  const counted = (counts: (key: string, value: string) => void, count: () => number) => ({
    payloadIds: (key: string, value: string) => (key === 'count' ? [] : [value]),
    countPayloadIds: () => ({ add: counts, count }),
  })

  test('publishes what both come to, and is refused with store_inconsistent, naming both, when they differ', async () => {
    const db = await database()
    let expected = 0
    const options = counted((key, value) => void (expected = key === 'count' ? Number(value) : expected), () => expected)
    expect((await snapshotOf(levelBackupable(db, options))).payloadIds).toHaveLength(1000)
    await db.put('count', '1001')
    const sink = new CollectingSink()
    await expect(levelBackupable(db, options).backup(sink)).rejects.toMatchObject({
      code: 'store_inconsistent',
      message: expect.stringContaining('found 1000 payload IDs, expected 1001') as string,
      details: { expected: { count: 1001 }, actual: { count: 1000 } },
    })
    expect(sink.summary).toBeUndefined()
  })

  test('is refused with record_invalid and the key when it throws', async () => {
    const options = counted((key) => {
      if (key === 'f1500') throw new Error('Cannot be counted')
    }, () => 0)
    await expect(levelBackupable(await database(), options).backup(new CollectingSink())).rejects.toMatchObject({ code: 'record_invalid', details: { key: 'f1500' } })
  })

  test('is refused beside a module, which exports its own', async () => {
    const { countPayloadIds } = counted(() => undefined, () => 0)
    expect(() => levelBackupable(new MemoryLevel(), { payloadIds: new URL('file:///module.js'), countPayloadIds })).toThrow(TypeError)
  })
})
