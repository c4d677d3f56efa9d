/** Reads single records of a metadata store. Rejects with `record_invalid` for a record that breaks the rules. */
import type { Block, ByteRangeLock, Inode, InodeNumber, PendingUpload, Place, Share } from '../../../contracts/metadata-store.ts'
import { inOrder } from '../../../metadata/locks.ts'
import type { EntryRecord } from '../../../metadata/tree-transaction.ts'
import { readBlocks } from './contents.ts'
import { NEXT_INODE_KEY, USED_BYTES_KEY, entryKey, inodeKey, locksOf, rangeOfLock, sectionRange, shareKey, textOfKey } from './keys.ts'
import { decodeRecord } from './record-check.ts'
import { type InodeRecord, decodeEntry, decodeInode, decodeLock, decodeShare, decodeUpload } from './records.ts'
import type { Reader } from '../engine/text-database.ts'

export async function readShare(reader: Reader, name: string): Promise<Share | undefined> {
  const record = await readRecord(reader, shareKey(name), decodeShare)
  return record === undefined ? undefined : { name, ...record }
}

export async function readInode(reader: Reader, inode: InodeNumber): Promise<InodeRecord | undefined> {
  return await readRecord(reader, inodeKey(inode), decodeInode)
}

export async function readEntry(reader: Reader, place: Place): Promise<EntryRecord | undefined> {
  return await readRecord(reader, entryKey(place), decodeEntry)
}

export async function* readUploads(reader: Reader): AsyncGenerator<PendingUpload, void, undefined> {
  for await (const [key, value] of reader.range(sectionRange('uploads'))) {
    const uploadId = textOfKey(key)
    const { parent, name, startedAtMs } = decodeRecord(key, value, decodeUpload)
    const blocks: Block[] = []
    for await (const block of readBlocks(reader, { uploadId })) blocks.push(block)
    yield { uploadId, parent, name, startedAtMs, blocks }
  }
}

export async function readLocks(reader: Reader, inode: InodeNumber): Promise<ByteRangeLock[]> {
  const locks: ByteRangeLock[] = []
  for await (const [key, value] of reader.range(locksOf(inode))) {
    locks.push({ inode, ...rangeOfLock(key), ...decodeRecord(key, value, decodeLock) })
  }
  return inOrder(locks)
}

/** The number that the next inode gets. */
export async function readNextInode(reader: Reader): Promise<InodeNumber> {
  return Number((await readCounter(reader, NEXT_INODE_KEY)) ?? 1)
}

export async function readUsedBytes(reader: Reader): Promise<bigint> {
  return (await readCounter(reader, USED_BYTES_KEY)) ?? 0n
}

/** The inode of a record, without the store's own fields. */
export function inodeOf(inode: InodeNumber, record: InodeRecord): Inode {
  const { parent: _parent, ...shown } = record
  return { inode, ...shown }
}

async function readCounter(reader: Reader, key: string): Promise<bigint | undefined> {
  return await readRecord(reader, key, BigInt)
}

/** Reads one record with its decoder; `undefined` where there is none. */
export async function readRecord<T>(reader: Reader, key: string, decode: (value: string) => T): Promise<T | undefined> {
  const value = await reader.get(key)
  return value === undefined ? undefined : decodeRecord(key, value, decode)
}
