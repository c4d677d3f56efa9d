import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { MemoryLevel } from 'memory-level'
import { describe, expect, onTestFinished, test } from 'vitest'
import { checkTree } from '../../src/metadata/check-tree.ts'
import { CONVERT_STEPS, type ConvertStep, convertStore } from '../../src/metadata/convert-store.ts'
import type { MetadataStore, MetadataView } from '../../src/contracts/metadata-store.ts'
import { LevelMetadataStore } from '../../src/stores/level/store/level-metadata-store.ts'
import { openStore } from '../stores/postgres/metadata-stores.ts'
import { checkLevelRecords } from '../support/check-level-records.ts'
import { startChild } from '../support/child.ts'
import { collect } from '../support/collect.ts'
import { dumpStore } from '../support/dump-store.ts'
import { fillStore } from '../support/fill-store.ts'
import { tempDir } from '../support/temp-dir.ts'

const MAX = Number.MAX_SAFE_INTEGER

const memoryStore = (): Promise<MetadataStore> => LevelMetadataStore.open(new MemoryLevel(), { kind: 'memory' })

/** Every kind of store, and how to make an empty one. */
const KINDS: readonly (readonly [kind: string, make: () => Promise<MetadataStore>])[] = [
  ['memory', memoryStore],
  ['level', async () => await LevelMetadataStore.open(new ClassicLevel(join(await tempDir(), 'db'), { multithreading: true }), { kind: 'level' })],
  ['postgres', () => openStore()],
]
const PAIRS = KINDS.flatMap(([from, makeSource]) => KINDS.map(([to, makeTarget]) => [from, to, makeSource, makeTarget] as const))

async function made(make: () => Promise<MetadataStore>): Promise<MetadataStore> {
  const store = await make()
  onTestFinished(() => store.close())
  return store
}

/** The greatest number that the next inode may get: too few would be left. */
const LAST = MAX - 2 ** 32

/** A store whose inode numbers are as great as they can be. */
async function storeOfGreatNumbers(): Promise<MetadataStore> {
  const db = new MemoryLevel()
  const store = await made(() => LevelMetadataStore.open(db, { kind: 'memory' }))
  await db.put('counters/next-inode', String(LAST - 3))
  const { root } = await store.createShare('s', { options: { ['__proto__']: 'own', '9007199254740993': '' } })
  const { inode } = await store.create({ parent: root, name: 'd' }, { type: 'directory', size: MAX })
  await store.create({ parent: inode, name: 'f' }, { type: 'file', size: MAX, content: { blocks: [{ payloadId: '~'.repeat(255), offset: MAX, bytes: 0 }] } })
  await store.lock({ inode: LAST - 1, owner: '/', kind: 'exclusive', start: MAX - 1, end: MAX })
  await store.lock({ inode: LAST - 1, owner: '0', kind: 'exclusive', start: 0, end: 1 })
  await store.putUpload({ uploadId: '~', parent: inode, name: 'n', startedAtMs: MAX, blocks: [{ payloadId: '!', offset: MAX, bytes: MAX }] })
  return store
}

/** What there is to copy: each fills an empty store, or brings one of its own to fill it from. */
const CONTENTS: readonly (readonly [title: string, fill: (store: MetadataStore) => Promise<void>])[] = [
  ['nothing', async () => undefined],
  ['something of every kind, with Unicode, empty values and times at their ends', fillStore],
  ['numbers up to 2^53 - 1', async (store) => void (await convertStore({ from: await storeOfGreatNumbers(), to: store }))],
  [
    'inode numbers and counts that nothing has any more',
    async (store) => {
      const { root } = await store.createShare('s')
      await store.create({ parent: root, name: 'f' }, { type: 'file', size: 9, content: { payloadId: 'p' } })
      await store.unlink({ parent: root, name: 'f' })
      await store.removeShare('s')
    },
  ],
]

describe.each(PAIRS)('convertStore() from %s to %s', (_, to, makeSource, makeTarget) => {
  test.each(CONTENTS)('copies %s exactly, and reports its counts', async (_, fill) => {
    const [source, target] = [await made(makeSource), await made(makeTarget)]
    await fill(source)
    const { storeId } = target
    const report = await convertStore({ from: source, to: target })
    expect(await dumpStore(target)).toEqual(await dumpStore(source))
    expect(await nextInodeOf(target)).toBe(await nextInodeOf(source))
    expect(await checkTree(target)).toEqual([])
    await using view = await target.view()
    expect(report).toMatchObject({
      from: { kind: source.kind, storeId: source.storeId },
      to: { kind: to, storeId },
      records: {
        shares: (await target.shares()).length,
        inodes: (await collect(view.inodes())).length,
        entries: (await collect(view.entries())).length,
        blocks: (await collect(view.allBlocks())).length,
        locks: (await collect(view.allLocks())).length,
        uploads: (await collect(target.uploads())).length,
        settings: (await target.settings()).size,
      },
      payloadIds: { count: (await collect(target.payloadIds())).length },
      usedBytes: await source.usedBytes(),
    })
  })

  test('copies one instant while the source is written to', async () => {
    const [source, target] = [await made(makeSource), await made(makeTarget)]
    await fillStore(source)
    const before = await dumpStore(source)
    const [{ root } = { root: 0 }] = await source.shares()
    const writing = Promise.all(Array.from({ length: 50 }, (_, at) => source.create({ parent: root, name: `new ${at}` }, { type: 'file', size: 1, content: { payloadId: `n${at}` } })))
    const steps = new Set<ConvertStep>()
    await convertStore({ from: source, to: target, onProgress: ({ step }) => steps.add(step) })
    await writing
    const copied = await dumpStore(target)
    // The view was opened before the writes, or in between two of them.
    expect(copied.inodes).toMatchObject(Object.fromEntries(Object.keys(before.inodes).map((inode) => [inode, { inode: Number(inode) }])))
    expect(await checkTree(target)).toEqual([])
    expect([...steps]).toEqual([...CONVERT_STEPS])
  })

  test('refuses a populated target and changes nothing', async () => {
    const [source, target] = [await made(makeSource), await made(makeTarget)]
    await fillStore(source)
    await target.createShare('mine')
    const before = await dumpStore(target)
    await expect(convertStore({ from: source, to: target })).rejects.toMatchObject({ code: 'restore_destination_not_empty' })
    expect(await dumpStore(target)).toEqual(before)
  })

  test('leaves the target empty when it is aborted, at whatever step, and can then be done again', async () => {
    const [source, target] = [await made(makeSource), await made(makeTarget)]
    await fillStore(source)
    const empty = await dumpStore(target)
    for (const at of CONVERT_STEPS) {
      const controller = new AbortController()
      const reason = new Error(`aborted: ${randomUUID()}`)
      const onProgress = ({ step }: { readonly step: ConvertStep }): void => (step === at ? controller.abort(reason) : undefined)
      await expect(convertStore({ from: source, to: target, signal: controller.signal, onProgress })).rejects.toBe(reason)
      expect(await dumpStore(target)).toEqual(empty)
    }
    await convertStore({ from: source, to: target })
    expect(await dumpStore(target)).toEqual(await dumpStore(source))
  })
})

describe('convertStore()', () => {
  /** Each makes a source that gives the copy something else than what is compared. */
  const LIES: readonly (readonly [what: string, lie: (view: MetadataView) => Partial<MetadataView>])[] = [
    ['inodes: different content', (view) => ({ inodes: firstTime(() => view.inodes(), (inode) => ({ ...inode, mode: inode.mode ^ 1 })) })],
    ['entries: 12 instead of 13', (view) => ({ entries: firstTime(() => view.entries(), (entry) => (entry.name === 'hard link' ? undefined : entry)) })],
    ['blocks: different content', (view) => ({ allBlocks: firstTime(() => view.allBlocks(), (block) => ({ ...block, bytes: 0 })) })],
    ['locks: 1 instead of 2', (view) => ({ allLocks: firstTime(() => view.allLocks(), (lock) => (lock.end === undefined ? undefined : lock)) })],
    ['payload IDs: 701 instead of 702', (view) => ({ payloadIds: async function* () { yield* view.payloadIds(); yield '~more' } })],
    ['used bytes', (view) => ({ usedBytes: async () => (await view.usedBytes()) - 2 })],
  ]

  test.each(LIES)('finds a copy that differs (%s), and leaves the target empty', async (what, lie) => {
    const [source, target] = [await made(memoryStore), await made(memoryStore)]
    await fillStore(source)
    const empty = await dumpStore(target)
    const lying = new Proxy(source, {
      get: (store, name) => (name === 'view' ? async () => overlaid(await store.view(), lie) : (Reflect.get(store, name, store) as unknown)),
    })
    const error: unknown = await convertStore({ from: lying, to: target }).catch((error: unknown) => error)
    expect(error).toMatchObject({ code: 'checksum_mismatch', message: expect.stringContaining(what) as unknown })
    expect(await dumpStore(target)).toEqual(empty)
  })

  test('killed in the middle leaves a LevelDB target that opens empty, and takes the next one', async () => {
    const path = join(await tempDir(), 'db')
    const child = startChild(new URL('../../dist/test/metadata/convert-child.js', import.meta.url), [path])
    onTestFinished(() => child.kill())
    expect(await child.line()).toBe('written')
    await child.kill()
    const db = new ClassicLevel(path)
    await db.open()
    expect((await db.keys({ gte: 'inodes/', lt: 'inodes0' }).all()).length).toBeGreaterThan(0)
    const target = await made(() => LevelMetadataStore.open(db, { kind: 'level' }))
    expect(await db.keys().all()).toEqual(['store/id', 'store/schema-version'])
    const source = await made(memoryStore)
    await fillStore(source)
    await convertStore({ from: source, to: target })
    expect(await dumpStore(target)).toEqual(await dumpStore(source))
    expect(await checkLevelRecords(db)).toEqual([])
  })
})

async function nextInodeOf(store: MetadataStore): Promise<number> {
  await using view = await store.view()
  return await view.nextInode()
}

/** A list that is changed (or, by `undefined`, shortened) the first time it is read: for the copy, not for the comparison. */
function firstTime<T>(list: () => AsyncIterable<T>, change: (item: T) => T | undefined): () => AsyncGenerator<T, void, undefined> {
  let isFirst = true
  return async function* () {
    const isChanged = isFirst
    isFirst = false
    for await (const item of list()) {
      const given = isChanged ? change(item) : item
      if (given !== undefined) yield given
    }
  }
}

/** A view with some of its methods replaced. */
function overlaid(view: MetadataView, lie: (view: MetadataView) => Partial<MetadataView>): MetadataView {
  const replaced = lie(view)
  return new Proxy(view, {
    get(target, name) {
      const value: unknown = Reflect.get(name in replaced ? replaced : target, name)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}
