/** Operations on a metadata store as fast-check makes them up, each held against the naive model. */
import * as fc from 'fast-check'
import { isHoldfastError } from '../../src/errors/errors.ts'
import type { MetadataStore } from '../../src/contracts/metadata-store.ts'
import { NAIVE_BYTES, type NaiveMetadata, type NaiveNew } from './naive-metadata.ts'

/** One operation on both: what the model throws decides what the store must reject with. */
export interface Step {
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
      .record({ from: place, to: place, existing: fc.constantFrom('replace', 'replace', 'refuse', 'exchange') })
      .map(({ from, to, existing }) =>
        step(`rename ${show(from)} ${show(to)} ${existing}`, (model) => model.rename(from, to, existing), (store) => store.rename(from, to, { existing })),
      ),
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
export const program: fc.Arbitrary<Step[][]> = fc.array(fc.array(steps, { minLength: 1, maxLength: 12 }), { maxLength: 12 })

export function step(title: string, model: (model: NaiveMetadata) => void, store: (store: MetadataStore) => Promise<unknown>): Step {
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

function show({ parent, name }: { readonly parent: number; readonly name: string }): string {
  return `${parent}/${name}`
}
