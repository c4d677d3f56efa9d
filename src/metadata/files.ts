/** Mutations of attributes, content, pending uploads and byte-range locks, with their refusals. Arguments have been checked. */
import type { ByteRangeLock, Content, Inode, InodeAttributes, InodeNumber, PendingUpload } from '../contracts/metadata-store.ts'
import { blocksOf, changedAttributes, nsOfMs, payloadIdOf } from './inodes.ts'
import { conflictingLock, withLock, withoutRange } from './locks.ts'
import * as refusals from './refusals.ts'
import { createInode, requireDirectory, requireInode } from './tree.ts'
import type { TreeTransaction } from './tree-transaction.ts'
import { checkInteger } from './validate.ts'

export async function changeAttributes(
  transaction: TreeTransaction,
  inode: InodeNumber,
  { changes, nowMs }: { readonly changes: Partial<InodeAttributes>; readonly nowMs: number },
): Promise<Inode> {
  const before = await requireInode(transaction, inode, 'change')
  const attributes = changedAttributes(before, { ...changes, changedAtNs: changes.changedAtNs ?? nsOfMs(nowMs) })
  await transaction.putAttributes(before, attributes)
  return { ...before, ...attributes }
}

export interface NewContent {
  readonly content: Content | undefined
  readonly size: number
  readonly modifiedAtNs: bigint | undefined
  readonly nowMs: number
}

export async function changeContent(transaction: TreeTransaction, inode: InodeNumber, { content, size, modifiedAtNs, nowMs }: NewContent): Promise<Inode> {
  const before = await requireInode(transaction, inode, 'change')
  refusals.requireFileType(before)
  const blocks = blocksOf(content)
  const changedAtNs = nsOfMs(nowMs)
  const after = { ...before, size, modifiedAtNs: modifiedAtNs ?? changedAtNs, changedAtNs, payloadId: payloadIdOf(content), blockCount: blocks.length }
  if (before.blockCount > 0) await transaction.removeBlocks({ inode })
  await transaction.putContent(before, after)
  await transaction.putBlocks({ inode }, blocks)
  return after
}

export async function putUpload(transaction: TreeTransaction, upload: PendingUpload): Promise<void> {
  const { uploadId, parent, blocks } = upload
  await requireDirectory(transaction, parent)
  await transaction.putUpload(upload)
  await transaction.removeBlocks({ uploadId })
  await transaction.putBlocks({ uploadId }, blocks)
}

export async function completeUpload(
  transaction: TreeTransaction,
  uploadId: string,
  { attributes, nowMs }: { readonly attributes: Partial<InodeAttributes>; readonly nowMs: number },
): Promise<Inode> {
  const place = await transaction.uploadPlace(uploadId)
  if (place === undefined) throw refusals.noSuchUpload(uploadId)
  const sum = await transaction.uploadSize(uploadId)
  const size = attributes.size ?? checkInteger(sum.bytes, { what: 'size' })
  const made = await createInode(transaction, place, { inode: { ...attributes, size, type: 'file' }, nowMs })
  await transaction.moveUpload(uploadId, made.inode)
  return { ...made, blockCount: sum.blocks }
}

export async function removeUpload(transaction: TreeTransaction, uploadId: string): Promise<void> {
  if ((await transaction.uploadPlace(uploadId)) === undefined) throw refusals.noSuchUpload(uploadId)
  await transaction.removeUpload(uploadId)
}

export async function takeLock(transaction: TreeTransaction, lock: ByteRangeLock): Promise<void> {
  refusals.requireFileType(await requireInode(transaction, lock.inode, 'change'))
  const locks = await transaction.locks(lock.inode)
  const other = conflictingLock(locks, lock)
  if (other !== undefined) throw refusals.lockConflict(other)
  await replaceLocks(transaction, locks, withLock(locks, lock))
}

export async function releaseRange(transaction: TreeTransaction, range: Omit<ByteRangeLock, 'kind'>): Promise<void> {
  await transaction.lock([range.inode], 'change')
  const locks = await transaction.locks(range.inode)
  await replaceLocks(transaction, locks, withoutRange(locks, range))
}

async function replaceLocks(transaction: TreeTransaction, before: readonly ByteRangeLock[], after: readonly ByteRangeLock[]): Promise<void> {
  const removed = before.filter((lock) => !after.includes(lock))
  const added = after.filter((lock) => !before.includes(lock))
  await transaction.replaceLocks(removed, added)
}
