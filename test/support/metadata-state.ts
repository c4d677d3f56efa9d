/** What a metadata store and the naive model hold, in one form, so that they can be compared. */
import type { ByteRangeLock, InodeNumber, MetadataStore } from '../../src/contracts/metadata-store.ts'
import { type NaiveMetadata, NAIVE_BYTES } from './naive-metadata.ts'

/** All that the model holds, as plain data. */
export function stateOfModel(model: NaiveMetadata): unknown {
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

/** The same of a store whose inode numbers are all below `next`. */
export async function stateOfStore(store: MetadataStore, { next }: Pick<NaiveMetadata, 'next'>): Promise<unknown> {
  const inodes = await Promise.all(Array.from({ length: next - 1 }, (_, at) => stateOfInode(store, at + 1)))
  return {
    inodes: inodes.filter((inode) => inode !== undefined),
    shares: (await store.shares()).map(({ name, root }) => [name, root]),
    uploads: (await all(store.uploads())).toSorted((a, b) => (a.uploadId < b.uploadId ? -1 : 1)),
    settings: [...(await store.settings())].toSorted(byName),
    usedBytes: await store.usedBytes(),
    payloadIds: await all(store.payloadIds()),
  }
}

async function stateOfInode(store: MetadataStore, number: InodeNumber): Promise<unknown> {
  const inode = await store.inode(number)
  if (inode === undefined) return undefined
  const { type, size, links, mode, payloadId } = inode
  const blocks = type === 'file' ? await all(store.blocks(number)) : []
  const content = payloadId === undefined ? (blocks.length === 0 ? undefined : { blocks }) : { payloadId }
  const entries = type === 'directory' ? (await store.readDirectory(number)).entries.map((entry) => [entry.name, entry.inode]) : []
  const locks = (await store.locks(number)).flatMap((lock) => splitLock(lock).map(showByte)).toSorted()
  return { number, type, size, links, mode, content, entries, locks }
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
