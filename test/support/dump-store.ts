/** All that a metadata store says of itself, as plain data: two stores of the same content give equal dumps. */
import type { Block, InodeNumber, MetadataReader } from '../../src/contracts/metadata-store.ts'

export interface StoreDump {
  readonly shares: unknown
  readonly entries: readonly string[]
  readonly inodes: Readonly<Record<number, unknown>>
  readonly uploads: unknown
  readonly settings: unknown
  readonly usedBytes: number
  readonly payloadIds: readonly string[]
}

/** Keeps everything in memory; for small stores. */
export async function dumpStore(store: MetadataReader): Promise<StoreDump> {
  const shares = await store.shares()
  const entries: string[] = []
  const inodes: Record<number, unknown> = {}
  const waiting = shares.map((share) => share.root)
  for (let directory = waiting.pop(); directory !== undefined; directory = waiting.pop()) {
    inodes[directory] = await dumpInode(store, directory)
    for (const entry of (await store.readDirectory(directory, { limit: 10_000 })).entries) {
      entries.push(`${directory}/${entry.name} -> ${entry.inode} ${entry.type}`)
      if (entry.type === 'directory') waiting.push(entry.inode)
      else inodes[entry.inode] ??= await dumpInode(store, entry.inode)
    }
  }
  return {
    shares: shares.map((share) => ({ ...share, options: sortedPairs(Object.entries(share.options)) })),
    entries: entries.toSorted(),
    inodes,
    uploads: sortedPairs((await all(store.uploads())).map((upload) => [upload.uploadId, upload])),
    settings: sortedPairs([...(await store.settings())]),
    usedBytes: await store.usedBytes(),
    payloadIds: await all(store.payloadIds()),
  }
}

async function dumpInode(store: MetadataReader, number: InodeNumber): Promise<unknown> {
  const inode = await store.inode(number)
  const blocks: readonly Block[] = inode?.type === 'file' ? await all(store.blocks(number)) : []
  const xattrs = sortedPairs([...(inode?.xattrs ?? [])].map(([name, value]) => [name, Buffer.from(value).toString('hex')]))
  return { ...inode, xattrs, blocks, locks: await store.locks(number) }
}

function sortedPairs<T>(pairs: readonly (readonly [string, T])[]): readonly (readonly [string, T])[] {
  return pairs.toSorted(([a], [b]) => (a < b ? -1 : 1))
}

async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of source) items.push(item)
  return items
}
