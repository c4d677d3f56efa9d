/** Operations on pending uploads and on locks. Each runs within a transaction; arguments have been checked. */
import { MetadataError } from '../../../errors/errors.ts'
import { conflictingLock, inOrder, withLock, withoutRange } from '../../../metadata/locks.ts'
import type { Block, ByteRangeLock, Inode, InodeAttributes, InodeNumber, PendingUpload } from '../../../contracts/metadata-store.ts'
import { checkInteger } from '../../../metadata/validate.ts'
import type { Transaction } from './commit-queue.ts'
import { blocksOfUpload, putBlocks, readBlocks, removeBlocks } from './contents.ts'
import { lockKey, locksOf, rangeOfLock, sectionRange, textOfKey, uploadKey } from './keys.ts'
import { requireDirectory } from './nodes.ts'
import { decodeRecord } from './record-check.ts'
import { type UploadRecord, decodeLock, decodeUpload, encodeLock, encodeUpload } from './records.ts'
import type { Reader } from '../engine/text-database.ts'
import { createInode, requireFile } from './tree.ts'

export async function putUpload(transaction: Transaction, upload: PendingUpload): Promise<void> {
  const { uploadId, parent, name, startedAtMs, blocks } = upload
  await requireDirectory(transaction, parent)
  if ((await readUpload(transaction, uploadId)) !== undefined) await removeBlocks(transaction, blocksOfUpload(uploadId))
  putBlocks(transaction, blocksOfUpload(uploadId), blocks)
  transaction.put(uploadKey(uploadId), encodeUpload({ parent, name, startedAtMs, blockCount: blocks.length }))
}

export async function* readUploads(reader: Reader): AsyncGenerator<PendingUpload, void, undefined> {
  for await (const [key, value] of reader.range(sectionRange('uploads'))) {
    const uploadId = textOfKey(key)
    const { parent, name, startedAtMs } = decodeRecord(key, value, decodeUpload)
    yield { uploadId, parent, name, startedAtMs, blocks: await allBlocks(reader, uploadId) }
  }
}

export async function removeUpload(transaction: Transaction, uploadId: string): Promise<void> {
  await requireUpload(transaction, uploadId)
  await removeBlocks(transaction, blocksOfUpload(uploadId))
  transaction.delete(uploadKey(uploadId))
}

export async function completeUpload(
  transaction: Transaction,
  uploadId: string,
  options: { readonly attributes: Partial<InodeAttributes>; readonly nowMs: number },
): Promise<Inode> {
  const { parent, name } = await requireUpload(transaction, uploadId)
  const blocks = await allBlocks(transaction, uploadId)
  await removeUpload(transaction, uploadId)
  const size = options.attributes.size ?? checkInteger(sizeOf(blocks), { what: 'size' })
  const inode = { ...options.attributes, size, type: 'file', content: { blocks } } as const
  return await createInode(transaction, { parent, name }, { inode, nowMs: options.nowMs })
}

export async function takeLock(transaction: Transaction, lock: ByteRangeLock): Promise<void> {
  await requireFile(transaction, lock.inode)
  const locks = await readLocks(transaction, lock.inode)
  const other = conflictingLock(locks, lock)
  if (other !== undefined) {
    const message = `Cannot lock inode ${lock.inode}: ${JSON.stringify(other.owner)} holds bytes ${other.start} to ${other.end ?? 'the end'}`
    throw new MetadataError('lock_conflict', message, { details: { owner: other.owner, kind: other.kind, start: other.start, end: other.end } })
  }
  replaceLocks(transaction, locks, withLock(locks, lock))
}

export async function giveBack(transaction: Transaction, range: Omit<ByteRangeLock, 'kind'>): Promise<void> {
  const locks = await readLocks(transaction, range.inode)
  replaceLocks(transaction, locks, withoutRange(locks, range))
}

export async function readLocks(reader: Reader, inode: InodeNumber): Promise<ByteRangeLock[]> {
  const locks: ByteRangeLock[] = []
  for await (const [key, value] of reader.range(locksOf(inode))) {
    locks.push({ inode, ...rangeOfLock(key), ...decodeRecord(key, value, decodeLock) })
  }
  return inOrder(locks)
}

function replaceLocks(transaction: Transaction, before: readonly ByteRangeLock[], after: readonly ByteRangeLock[]): void {
  for (const lock of before) if (!after.includes(lock)) transaction.delete(lockKey(lock.inode, lock.start, lock.owner))
  for (const lock of after) if (!before.includes(lock)) transaction.put(lockKey(lock.inode, lock.start, lock.owner), encodeLock(lock))
}

async function readUpload(reader: Reader, uploadId: string): Promise<UploadRecord | undefined> {
  const key = uploadKey(uploadId)
  const value = await reader.get(key)
  return value === undefined ? undefined : decodeRecord(key, value, decodeUpload)
}

async function requireUpload(reader: Reader, uploadId: string): Promise<UploadRecord> {
  const upload = await readUpload(reader, uploadId)
  if (upload === undefined) throw new MetadataError('entry_not_found', `Cannot find upload ${JSON.stringify(uploadId)}: there is none of this ID`)
  return upload
}

async function allBlocks(reader: Reader, uploadId: string): Promise<Block[]> {
  const blocks: Block[] = []
  for await (const block of readBlocks(reader, blocksOfUpload(uploadId))) blocks.push(block)
  return blocks
}

function sizeOf(blocks: readonly Block[]): number {
  return blocks.reduce((sum, block) => sum + block.bytes, 0)
}
