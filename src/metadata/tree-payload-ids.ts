/** Lists the payloads that a tree refers to. */
import type { Inode, InodeNumber, MetadataReader } from '../contracts/metadata-store.ts'
import { inBatches } from '../util/batches.ts'
import { pagesOf } from './walk-tree.ts'

const BATCH_IDS = 1000

/** The payload IDs of an inode and all below it, in batches, some more than once. Memory does not grow with the number of files. */
export function payloadIdsOfTree(reader: MetadataReader, top: Inode): AsyncGenerator<readonly string[], void, undefined> {
  return inBatches(idsBelow(reader, top), BATCH_IDS)
}

async function* idsBelow(reader: MetadataReader, top: Inode): AsyncGenerator<string, void, undefined> {
  yield* idsOf(reader, top)
  const waiting: InodeNumber[] = top.type === 'directory' ? [top.inode] : []
  for (let directory = waiting.pop(); directory !== undefined; directory = waiting.pop()) {
    for await (const entries of pagesOf(reader, directory)) {
      for (const { inode, type } of entries) {
        if (type === 'directory') waiting.push(inode)
        const file = type === 'file' ? await reader.inode(inode) : undefined
        if (file !== undefined) yield* idsOf(reader, file)
      }
    }
  }
}

async function* idsOf(reader: MetadataReader, { inode, payloadId, blockCount }: Inode): AsyncGenerator<string, void, undefined> {
  if (payloadId !== undefined) yield payloadId
  if (blockCount > 0) for await (const block of reader.blocks(inode)) yield block.payloadId
}
