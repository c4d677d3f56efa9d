import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import * as fc from 'fast-check'
import { MemoryLevel } from 'memory-level'
import { expect, test } from 'vitest'
import { checkTree } from '../../../src/metadata/check-tree.ts'
import type { ByteRangeLock, MetadataStore } from '../../../src/metadata/metadata-store.ts'
import { LevelMetadataStore } from '../../../src/stores/level/level-metadata-store.ts'
import type { LevelDatabase } from '../../../src/stores/level/text-database.ts'
import { checkLevelRecords } from '../../support/check-level-records.ts'
import { type Step, program, step } from '../../support/metadata-steps.ts'
import { NAIVE_BYTES, NaiveMetadata } from '../../support/naive-metadata.ts'
import { runs, seed } from '../../support/seed.ts'
import { tempDir } from '../../support/temp-dir.ts'

test('LevelMetadataStore does what a naive model does, operations at once in the order they were asked for', async () => {
  await fc.assert(
    fc.asyncProperty(program, async (groups) => {
      await compare(new MemoryLevel(), groups)
    }),
    { seed, numRuns: runs(300) },
  )
})

test('LevelMetadataStore on LevelDB does what a naive model does', async () => {
  const directory = await tempDir()
  let count = 0
  await fc.assert(
    fc.asyncProperty(program, async (groups) => {
      await compare(new ClassicLevel(join(directory, `${count++}`), { multithreading: true }), groups)
    }),
    { seed, numRuns: runs(25) },
  )
})

async function compare(db: LevelDatabase, groups: readonly (readonly Step[])[]): Promise<void> {
  const store = await LevelMetadataStore.open(db, { kind: 'test', durable: false })
  const model = new NaiveMetadata()
  try {
    for (const share of ['s', 't']) await step('', (model) => model.createShare(share), (store) => store.createShare(share)).run(model, store)
    for (const group of groups) {
      await Promise.all(group.map((step) => step.run(model, store)))
      expect(await stateOfStore(store)).toEqual(stateOfModel(model))
    }
    expect(await checkTree(store)).toEqual([])
    expect(await checkLevelRecords(db)).toEqual([])
  } finally {
    await store.close()
  }
}

function stateOfModel(model: NaiveMetadata): unknown {
  const inodes = [...model.inodes].map(([number, { type, size, mode, content, entries, locks }]) => {
    const subdirectories = [...entries.values()].filter((entry) => model.inodes.get(entry)?.type === 'directory').length
    const links = type === 'directory' ? 2 + subdirectories : model.names(number)
    return {
      number,
      type,
      size,
      links,
      mode,
      content: content === undefined || ('blocks' in content && content.blocks.length === 0) ? undefined : content,
      entries: [...entries].toSorted(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
      locks: locks.map(showByte).toSorted(),
    }
  })
  return {
    inodes,
    shares: [...model.shares].toSorted(byName),
    uploads: [...model.uploads.values()].toSorted((a, b) => (a.uploadId < b.uploadId ? -1 : 1)),
    settings: [...model.settings].toSorted(byName),
    usedBytes: model.usedBytes(),
    payloadIds: model.payloadIds(),
  }
}

async function stateOfStore(store: MetadataStore): Promise<unknown> {
  const inodes: unknown[] = []
  for (let number = 1; number <= 200; number++) {
    const inode = await store.inode(number)
    if (inode === undefined) continue
    const { type, size, links, mode, payloadId } = inode
    const blocks = type === 'file' ? await all(store.blocks(number)) : []
    const content = payloadId === undefined ? (blocks.length === 0 ? undefined : { blocks }) : { payloadId }
    const entries = type === 'directory' ? (await store.readDirectory(number)).entries.map((entry) => [entry.name, entry.inode]) : []
    const locks = (await store.locks(number)).flatMap((lock) => splitLock(lock).map(showByte)).toSorted()
    inodes.push({ number, type, size, links, mode, content, entries, locks })
  }
  return {
    inodes,
    shares: (await store.shares()).map(({ name, root }) => [name, root]),
    uploads: (await all(store.uploads())).toSorted((a, b) => (a.uploadId < b.uploadId ? -1 : 1)),
    settings: [...(await store.settings())].toSorted(byName),
    usedBytes: await store.usedBytes(),
    payloadIds: await all(store.payloadIds()),
  }
}

function splitLock(lock: ByteRangeLock): ByteRangeLock[] {
  const end = Math.min(lock.end ?? NAIVE_BYTES, NAIVE_BYTES)
  return Array.from({ length: end - lock.start }, (_, at) => ({ ...lock, start: lock.start + at, end: lock.start + at + 1 }))
}

function showByte({ start, owner, kind }: ByteRangeLock): string {
  return `${String(start).padStart(2, '0')} ${owner} ${kind}`
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1
}

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of source) items.push(item)
  return items
}
