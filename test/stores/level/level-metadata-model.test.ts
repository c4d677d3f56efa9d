import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import * as fc from 'fast-check'
import { MemoryLevel } from 'memory-level'
import { expect, test } from 'vitest'
import { isHoldfastError } from '../../../src/errors.ts'
import { checkTree } from '../../../src/metadata/check-tree.ts'
import type { ByteRangeLock, MetadataStore } from '../../../src/metadata/metadata-store.ts'
import { LevelMetadataStore } from '../../../src/stores/level/level-metadata-store.ts'
import type { LevelDatabase } from '../../../src/stores/level/text-database.ts'
import { checkLevelRecords } from '../../support/check-level-records.ts'
import { NAIVE_BYTES, NaiveMetadata, type NaiveNew } from '../../support/naive-metadata.ts'
import { runs, seed } from '../../support/seed.ts'
import { tempDir } from '../../support/temp-dir.ts'

/** One operation on both: what the model throws decides what the store must reject with. */
interface Step {
  run(model: NaiveMetadata, store: MetadataStore): Promise<void>
  /** For fast-check's report. */
  toString(): string
}

// Few inodes, names and IDs, so that operations meet.
const inode = fc.integer({ min: 1, max: 12 })
const name = fc.constantFrom('a', 'b', 'é', '~')
const place = fc.record({ parent: inode, name })
const payloadId = fc.constantFrom('p', 'q', 'r/s')
const uploadId = fc.constantFrom('u', 'v')
const block = fc.record({ payloadId, offset: fc.nat(9), bytes: fc.nat(9) })
const content = fc.option(fc.oneof(fc.record({ payloadId }), fc.record({ blocks: fc.array(block, { maxLength: 3 }) })), { nil: undefined })
const share = fc.constantFrom('s', 't')
const range = fc
  .record({ inode, owner: fc.constantFrom('x', 'y'), start: fc.nat(NAIVE_BYTES - 2), length: fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined }) })
  .map(({ inode, owner, start, length }) => ({ inode, owner, start, end: length === undefined ? undefined : Math.min(start + length, NAIVE_BYTES) }))

const steps: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ share }).map(({ share }) => step(`createShare ${share}`, (model) => model.createShare(share), (store) => store.createShare(share))),
  fc.record({ share }).map(({ share }) => step(`removeShare ${share}`, (model) => model.removeShare(share), (store) => store.removeShare(share))),
  {
    weight: 6,
    arbitrary: fc.record({ place, type: fc.constantFrom('file', 'directory', 'directory', 'symlink'), size: fc.nat(9), content }).map(({ place, type, size, content }) => {
      const inode: NaiveNew = { type, size, mode: 0o600, content: type === 'file' ? content : undefined }
      const symlinkTarget = type === 'symlink' ? 'x' : undefined
      return step(`create ${show(place)} ${type}`, (model) => model.create(place, inode), (store) => store.create(place, { ...inode, symlinkTarget }))
    }),
  },
  fc.record({ place, inode }).map(({ place, inode }) => step(`link ${show(place)} ${inode}`, (model) => model.link(place, inode), (store) => store.link(place, inode))),
  { weight: 2, arbitrary: place.map((place) => step(`unlink ${show(place)}`, (model) => model.unlink(place), (store) => store.unlink(place))) },
  {
    weight: 4,
    arbitrary: fc
      .record({ from: place, to: place })
      .map(({ from, to }) => step(`rename ${show(from)} ${show(to)}`, (model) => model.rename(from, to), (store) => store.rename(from, to))),
  },
  fc
    .record({ inode, changes: fc.record({ size: fc.nat(99), mode: fc.nat(0o7777) }) })
    .map(({ inode, changes }) =>
      step(`setAttributes ${inode}`, (model) => model.setAttributes(inode, changes), (store) => store.setAttributes(inode, changes)),
    ),
  fc
    .record({ inode, content, size: fc.nat(99) })
    .map(({ inode, content, size }) =>
      step(`setContent ${inode}`, (model) => model.setContent(inode, content, size), (store) => store.setContent(inode, content, { size })),
    ),
  fc
    .record({ uploadId, place, blocks: fc.array(block, { maxLength: 3 }) })
    .map(({ uploadId, place, blocks }) => ({ uploadId, ...place, startedAtMs: 0, blocks }))
    .map((upload) => step(`putUpload ${upload.uploadId}`, (model) => model.putUpload(upload), (store) => store.putUpload(upload))),
  uploadId.map((id) => step(`completeUpload ${id}`, (model) => model.completeUpload(id), (store) => store.completeUpload(id))),
  uploadId.map((id) => step(`removeUpload ${id}`, (model) => model.removeUpload(id), (store) => store.removeUpload(id))),
  {
    weight: 3,
    arbitrary: fc
      .record({ range, kind: fc.constantFrom('shared', 'exclusive') })
      .map(({ range, kind }) => ({ ...range, kind }))
      .map((lock) => step(`lock ${JSON.stringify(lock)}`, (model) => model.lock(lock), (store) => store.lock(lock))),
  },
  range.map((range) => step(`unlock ${JSON.stringify(range)}`, (model) => model.unlock(range), (store) => store.unlock(range))),
  fc
    .record({ name, value: fc.option(fc.constantFrom('', 'x'), { nil: undefined }) })
    .map(({ name, value }) => step(`setSetting ${name}`, (model) => model.setSetting(name, value), (store) => store.setSetting(name, value))),
)

/** Steps in groups; those of a group are asked for at once. */
const program = fc.array(fc.array(steps, { minLength: 1, maxLength: 12 }), { maxLength: 12 })

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

function step(title: string, model: (model: NaiveMetadata) => void, store: (store: MetadataStore) => Promise<unknown>): Step {
  return {
    toString: () => title,
    async run(naive, real) {
      const expected = outcomeOf(() => model(naive))
      const found = await store(real).then(() => 'done', codeOf)
      if (found !== expected) throw new Error(`${title}: ${found} instead of ${expected}`)
    },
  }
}

function outcomeOf(call: () => void): string {
  try {
    call()
    return 'done'
  } catch (error) {
    return codeOf(error)
  }
}

function codeOf(error: unknown): string {
  if (!isHoldfastError(error)) throw error
  return error.code
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

function show({ parent, name }: { readonly parent: number; readonly name: string }): string {
  return `${parent}/${name}`
}

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of source) items.push(item)
  return items
}
