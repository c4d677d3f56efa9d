/** Block lists and payload references of inodes and uploads. */
import type { Block } from '../../../contracts/metadata-store.ts'
import type { BlockOwner } from '../../../metadata/tree-transaction.ts'
import type { Transaction } from './commit-queue.ts'
import { type ReferenceOwner, blocksKey, blocksOf, inodeOwner, referenceKey, uploadBlocksKey, uploadBlocksOf, uploadOwner } from './keys.ts'
import { decodeRecord } from './record-check.ts'
import { BLOCKS_PER_CHUNK, REFERENCE_VALUE, decodeBlocks, encodeBlocks } from './records.ts'
import type { Reader, TextRange } from '../engine/text-database.ts'

/** Chunks read at once: few, for they are large records. */
export const CHUNKS_PER_PAGE = 4

export async function* readBlocks(reader: Reader, owner: BlockOwner): AsyncGenerator<Block, void, undefined> {
  for await (const [key, value] of reader.range(placeOf(owner).range, { pageSize: CHUNKS_PER_PAGE })) {
    yield* decodeRecord(key, value, decodeBlocks)
  }
}

/** Takes records: a transaction, or a store that is being filled. */
export type Writer = Pick<Transaction, 'put'>

export function putBlocks(writer: Writer, owner: BlockOwner, blocks: readonly Block[]): void {
  for (let at = 0; at < blocks.length; at += BLOCKS_PER_CHUNK) {
    putChunk(writer, owner, { chunk: at / BLOCKS_PER_CHUNK, blocks: blocks.slice(at, at + BLOCKS_PER_CHUNK) })
  }
}

/** Stores one record of a block list, and the references of its blocks. All but the last of a list are full. */
export function putChunk(writer: Writer, owner: BlockOwner, { chunk, blocks }: { readonly chunk: number; readonly blocks: readonly Block[] }): void {
  const { chunkKey, reference } = placeOf(owner)
  writer.put(chunkKey(chunk), encodeBlocks(blocks))
  for (const { payloadId } of blocks) writer.put(referenceKey(payloadId, reference), REFERENCE_VALUE)
}

export async function removeBlocks(transaction: Transaction, owner: BlockOwner): Promise<void> {
  const { range, reference } = placeOf(owner)
  for await (const [key, value] of transaction.range(range, { pageSize: CHUNKS_PER_PAGE })) {
    transaction.delete(key)
    for (const { payloadId } of decodeRecord(key, value, decodeBlocks)) transaction.delete(referenceKey(payloadId, reference))
  }
}

/** Where the blocks of an owner are, and the owner in their references. */
function placeOf(owner: BlockOwner): { readonly range: TextRange; readonly reference: ReferenceOwner; readonly chunkKey: (chunk: number) => string } {
  if ('uploadId' in owner) {
    const { uploadId } = owner
    return { range: uploadBlocksOf(uploadId), reference: uploadOwner(uploadId), chunkKey: (chunk) => uploadBlocksKey(uploadId, chunk) }
  }
  const { inode } = owner
  return { range: blocksOf(inode), reference: inodeOwner(inode), chunkKey: (chunk) => blocksKey(inode, chunk) }
}
