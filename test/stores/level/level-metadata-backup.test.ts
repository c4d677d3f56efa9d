import { equal } from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import * as fc from 'fast-check'
import { MemoryLevel } from 'memory-level'
import { describe, expect, test } from 'vitest'
import { checkTree } from '../../../src/metadata/check-tree.ts'
import { LevelMetadataStore } from '../../../src/stores/level/store/level-metadata-store.ts'
import type { LevelDatabase } from '../../../src/stores/level/engine/text-database.ts'
import { type BackupableFixture, testBackupable } from '../../conformance/backupable.ts'
import { CollectingSink, snapshotOf } from '../../conformance/backupable-fixture.ts'
import { checkLevelRecords } from '../../support/check-level-records.ts'
import { dumpStore } from '../../support/dump-store.ts'
import { fillStore } from '../../support/fill-store.ts'
import { program, step } from '../../support/metadata-steps.ts'
import { NaiveMetadata } from '../../support/naive-metadata.ts'
import { runs, seed } from '../../support/seed.ts'

const ENGINES = ['memory', 'level', 'level in a worker'] as const
type Engine = (typeof ENGINES)[number]

interface TestStore extends AsyncDisposable {
  readonly store: LevelMetadataStore
  readonly db: LevelDatabase
}

async function open(engine: Engine): Promise<TestStore> {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-test-'))
  const db = engine === 'memory' ? new MemoryLevel() : new ClassicLevel(join(directory, 'db'), { multithreading: true })
  const multithreading = engine === 'level in a worker'
  const store = await LevelMetadataStore.open(db, { kind: engine === 'memory' ? 'memory' : 'level', multithreading, durable: false })
  return {
    store,
    db,
    async [Symbol.asyncDispose]() {
      await store.close()
      await rm(directory, { recursive: true, force: true, maxRetries: 3 })
    },
  }
}

/** A store for the suite of all that can be backed up; a step changes inodes, block lists, references and counters at once. */
async function fixture(engine: Engine): Promise<BackupableFixture> {
  const opened = await open(engine)
  const { store } = opened
  const stepped = async (): Promise<number | undefined> => (await store.lookup({ parent: (await store.share('share'))?.root ?? 1, name: 'stepped' }))?.inode
  return {
    store,
    storeId: async () => store.storeId,
    async populate(records) {
      if (records > 100) await fillStore(store)
      else await store.createShare('share')
      const { root = 1 } = (await store.share('share')) ?? {}
      const files = Array.from({ length: Math.ceil(records / 3) }, (_, at) => at)
      await store.create({ parent: root, name: 'stepped' }, { type: 'file' })
      await Promise.all(files.map((at) => store.create({ parent: root, name: `file-${at}` }, { type: 'file', size: at, content: { payloadId: `p${at}` } })))
    },
    async mutate(count) {
      const blocks = Array.from({ length: (count % 3) * 1000 }, (_, at) => ({ payloadId: `step-${count}-${at}`, offset: 0, bytes: 1 }))
      await store.setContent((await stepped()) ?? 0, { blocks }, { size: blocks.length })
    },
    async check() {
      expect(await checkTree(store)).toEqual([])
      expect(await checkLevelRecords(opened.db)).toEqual([])
    },
    dump: async () => JSON.stringify(await dumpStore(store), (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value)),
    async payloadIds() {
      const payloadIds: string[] = []
      for await (const payloadId of store.payloadIds()) payloadIds.push(payloadId)
      return payloadIds
    },
    cleanup: async () => await opened[Symbol.asyncDispose](),
  }
}

for (const engine of ENGINES) {
  testBackupable({ name: `metadata store, ${engine}`, runner: { describe, test }, factory: () => fixture(engine), seed, faults: runs(10) })
}

describe('LevelMetadataStore backup() and restore()', () => {
  for (const from of ENGINES) {
    for (const to of ENGINES) {
      test(`give the same store again, from ${from} to ${to}`, async () => {
        await using source = await open(from)
        await using target = await open(to)
        await fillStore(source.store)
        const snapshot = await snapshotOf(source.store)
        await target.store.restore(chunks(snapshot.bytes))
        expect(await dumpStore(target.store)).toEqual(await dumpStore(source.store))
        expect(await checkTree(target.store)).toEqual([])
        expect(await checkLevelRecords(target.db)).toEqual([])
        expect(snapshot.payloadIds).toEqual((await dumpStore(target.store)).payloadIds)
        expect(target.store.storeId).not.toBe(source.store.storeId)
      })
    }
  }

  test('go on with inode numbers that the restored store has not used', async () => {
    await using source = await open('memory')
    await using target = await open('memory')
    await fillStore(source.store)
    const { root = 1 } = (await source.store.share('share')) ?? {}
    await target.store.restore(chunks((await snapshotOf(source.store)).bytes))
    const place = { parent: root, name: 'after' }
    equal((await target.store.create(place, { type: 'file' })).inode, (await source.store.create(place, { type: 'file' })).inode)
  })

  test('restore() waits for mutations asked for before it, and mutations asked for after it see what it brought', async () => {
    await using source = await open('memory')
    await using target = await open('memory')
    await source.store.createShare('brought')
    const { bytes } = await snapshotOf(source.store)
    const restored = target.store.restore(chunks(bytes))
    const created = target.store.createShare('brought')
    await restored
    await expect(created).rejects.toMatchObject({ code: 'entry_exists' })
    await using populated = await open('memory')
    const first = populated.store.createShare('first')
    await expect(populated.store.restore(chunks(bytes))).rejects.toMatchObject({ code: 'restore_destination_not_empty' })
    await first
  })

  for (const engine of ENGINES) {
    test(`backup() fails with record_invalid and the key of a record that cannot be decoded, on ${engine}`, async () => {
      await using opened = await open(engine)
      await fillStore(opened.store)
      const records = await opened.db.iterator<string, string>({ gte: 'a', lt: 'store/' }).all()
      for (const section of new Set(records.map(([key]) => key.split('/')[0]))) {
        const [key, value] = records.findLast(([key]) => key.startsWith(`${section}/`)) ?? ['', '']
        await opened.db.put(key, `${value} `)
        const sink = new CollectingSink()
        const failure = await opened.store.backup(sink).then(() => undefined, (error: unknown) => error)
        expect(failure, key).toMatchObject({ code: 'record_invalid' })
        expect((failure as Error).message).toContain(JSON.stringify(key))
        expect(sink.summary).toBeUndefined()
        await opened.db.put(key, value)
      }
      await snapshotOf(opened.store)
    })
  }

  test('any store survives the way from Memory to LevelDB and back', async () => {
    await fc.assert(
      fc.asyncProperty(program, async (groups) => {
        await using source = await open('memory')
        await using middle = await open('level')
        await using target = await open('memory')
        const model = new NaiveMetadata()
        for (const name of ['s', 't']) await step('', (model) => model.createShare(name), (store) => store.createShare(name)).run(model, source.store)
        for (const group of groups) await Promise.all(group.map((step) => step.run(model, source.store)))
        await middle.store.restore(chunks((await snapshotOf(source.store)).bytes))
        await target.store.restore(chunks((await snapshotOf(middle.store)).bytes))
        const dump = await dumpStore(source.store)
        expect(await dumpStore(middle.store)).toEqual(dump)
        expect(await dumpStore(target.store)).toEqual(dump)
        expect(await checkLevelRecords(target.db)).toEqual([])
      }),
      { seed, numRuns: runs(25) },
    )
  })
})

async function* chunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += 10_000) yield bytes.slice(at, at + 10_000)
}
