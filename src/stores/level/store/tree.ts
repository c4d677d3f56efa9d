/** Operations on the tree: shares, inodes, entries. Each runs within a transaction; arguments have been checked. */
import { InternalError, InvalidArgumentError, MetadataError } from '../../../errors/errors.ts'
import { changedAttributes, newAttributes, nsOfMs } from '../../../metadata/inodes.ts'
import type { Content, Inode, InodeAttributes, InodeNumber, NewInode, Place, RenameMode, Share } from '../../../contracts/metadata-store.ts'
import type { Transaction } from './commit-queue.ts'
import { putContent, removeContent } from './contents.ts'
import { entryKey, inodeKey, locksOf, shareKey } from './keys.ts'
import * as nodes from './nodes.ts'
import { decodeRecord } from './record-check.ts'
import { type EntryRecord, type InodeRecord, decodeShare, encodeShare } from './records.ts'
import type { Reader } from '../engine/text-database.ts'

export interface NewShare {
  readonly name: string
  readonly createdAtMs: number
  readonly options: Readonly<Record<string, string>>
  readonly root: Partial<InodeAttributes>
}

export async function readShare(reader: Reader, name: string): Promise<Share | undefined> {
  const key = shareKey(name)
  const value = await reader.get(key)
  return value === undefined ? undefined : { name, ...decodeRecord(key, value, decodeShare) }
}

export async function createShare(transaction: Transaction, share: NewShare): Promise<Share> {
  const { name, createdAtMs, options } = share
  if ((await readShare(transaction, name)) !== undefined) {
    throw new MetadataError('entry_exists', `Cannot create share ${JSON.stringify(name)}: the name is taken`)
  }
  const root = await nodes.allocateInode(transaction)
  const inode: NewInode = { ...share.root, type: 'directory' }
  nodes.putInode(transaction, root, newRecord(inode, { parent: root, nowMs: createdAtMs }))
  transaction.put(shareKey(name), encodeShare({ root, createdAtMs, options }))
  return { name, root, createdAtMs, options: { ...options } }
}

export async function removeShare(transaction: Transaction, name: string): Promise<void> {
  const share = await readShare(transaction, name)
  if (share === undefined) throw new MetadataError('entry_not_found', `Cannot remove share ${JSON.stringify(name)}: there is none of this name`)
  await nodes.requireEmpty(transaction, share.root)
  transaction.delete(inodeKey(share.root))
  transaction.delete(shareKey(name))
}

export async function createInode(transaction: Transaction, place: Place, options: { readonly inode: NewInode; readonly nowMs: number }): Promise<Inode> {
  await nodes.requireFree(transaction, place)
  const number = await nodes.allocateInode(transaction)
  const { type, content } = options.inode
  const parent = type === 'directory' ? place.parent : undefined
  const record = { ...newRecord(options.inode, { parent, nowMs: options.nowMs }), ...putContent(transaction, number, content) }
  nodes.putInode(transaction, number, record)
  nodes.putEntry(transaction, place, { inode: number, type })
  if (type === 'directory') await nodes.changeLinks(transaction, place.parent, 1)
  await nodes.countUsedBytes(transaction, undefined, record)
  return nodes.inodeOf(number, record)
}

export async function linkInode(transaction: Transaction, place: Place, inode: InodeNumber): Promise<Inode> {
  const record = await nodes.requireInode(transaction, inode)
  if (record.type === 'directory') throw new MetadataError('is_a_directory', `Cannot link inode ${inode}: it is a directory`)
  await nodes.requireFree(transaction, place)
  nodes.putEntry(transaction, place, { inode, type: record.type })
  return nodes.inodeOf(inode, await nodes.changeLinks(transaction, inode, 1))
}

export async function unlinkEntry(transaction: Transaction, place: Place): Promise<void> {
  await removeEntry(transaction, place, await nodes.requireEntry(transaction, place))
}

export interface Renaming {
  readonly from: Place
  readonly to: Place
  readonly existing: RenameMode
}

export async function renameEntry(transaction: Transaction, { from, to, existing }: Renaming): Promise<void> {
  const moved = await nodes.requireEntry(transaction, from)
  await nodes.requireDirectory(transaction, to.parent)
  const other = await nodes.readEntry(transaction, to)
  if (existing === 'refuse' && other !== undefined) throw nodes.nameTaken(to)
  if (existing === 'exchange' && other === undefined) throw nodes.noSuchEntry(to)
  // The same place, or two names of one file: as on POSIX, nothing happens.
  if (other?.inode === moved.inode) return
  if (moved.type === 'directory') await refuseOwnDescendant(transaction, moved.inode, to)
  transaction.delete(entryKey(from))
  if (other !== undefined && existing === 'exchange') {
    if (other.type === 'directory') await refuseOwnDescendant(transaction, other.inode, from)
    await moveEntry(transaction, other, { from: to, to: from })
  } else if (other !== undefined) {
    refuseOtherType(moved, other, to)
    await removeEntry(transaction, to, other)
  }
  await moveEntry(transaction, moved, { from, to })
}

export async function changeAttributes(
  transaction: Transaction,
  inode: InodeNumber,
  options: { readonly changes: Partial<InodeAttributes>; readonly nowMs: number },
): Promise<Inode> {
  const before = await nodes.requireInode(transaction, inode)
  const changes = { ...options.changes, changedAtNs: options.changes.changedAtNs ?? nsOfMs(options.nowMs) }
  const after = { ...before, ...changedAttributes(before, changes) }
  nodes.putInode(transaction, inode, after)
  await nodes.countUsedBytes(transaction, before, after)
  return nodes.inodeOf(inode, after)
}

export interface NewContent {
  readonly content: Content | undefined
  readonly size: number
  readonly modifiedAtNs: bigint | undefined
  readonly nowMs: number
}

export async function changeContent(transaction: Transaction, inode: InodeNumber, options: NewContent): Promise<Inode> {
  const before = await requireFile(transaction, inode)
  await removeContent(transaction, inode, before)
  const changedAtNs = nsOfMs(options.nowMs)
  const modifiedAtNs = options.modifiedAtNs ?? changedAtNs
  const after = { ...before, size: options.size, modifiedAtNs, changedAtNs, ...putContent(transaction, inode, options.content) }
  nodes.putInode(transaction, inode, after)
  await nodes.countUsedBytes(transaction, before, after)
  return nodes.inodeOf(inode, after)
}

export async function requireFile(reader: Reader, inode: InodeNumber): Promise<InodeRecord> {
  const record = await nodes.requireInode(reader, inode)
  if (record.type === 'directory') throw new MetadataError('is_a_directory', `Cannot use inode ${inode} as a file: it is a directory`)
  if (record.type !== 'file') throw new InvalidArgumentError(`Cannot use inode ${inode} as a file: it is a ${record.type}`)
  return record
}

/** Names an entry's inode at its new place; what the old place names is for the caller. */
async function moveEntry(transaction: Transaction, entry: EntryRecord, { from, to }: Omit<Renaming, 'existing'>): Promise<void> {
  nodes.putEntry(transaction, to, entry)
  if (entry.type !== 'directory' || from.parent === to.parent) return
  nodes.putInode(transaction, entry.inode, { ...(await nodes.inodeOfEntry(transaction, from, entry)), parent: to.parent })
  await nodes.changeLinks(transaction, from.parent, -1)
  await nodes.changeLinks(transaction, to.parent, 1)
}

/** A new inode with its first link, and no content yet. */
function newRecord(inode: NewInode, { parent, nowMs }: { readonly parent: InodeNumber | undefined; readonly nowMs: number }): InodeRecord {
  const { type, symlinkTarget } = inode
  const links = type === 'directory' ? 2 : 1
  return { type, ...newAttributes(inode, nsOfMs(nowMs)), links, symlinkTarget, payloadId: undefined, blockCount: 0, parent }
}

/** Removes an entry, and the inode with all that hangs on it when that was its last. */
async function removeEntry(transaction: Transaction, place: Place, entry: EntryRecord): Promise<void> {
  const record = await nodes.inodeOfEntry(transaction, place, entry)
  const isDirectory = record.type === 'directory'
  if (isDirectory) await nodes.requireEmpty(transaction, entry.inode)
  transaction.delete(entryKey(place))
  if (isDirectory) await nodes.changeLinks(transaction, place.parent, -1)
  if (isDirectory || record.links === 1) await removeInode(transaction, entry.inode, record)
  else nodes.putInode(transaction, entry.inode, { ...record, links: record.links - 1 })
}

async function removeInode(transaction: Transaction, inode: InodeNumber, record: InodeRecord): Promise<void> {
  transaction.delete(inodeKey(inode))
  await removeContent(transaction, inode, record)
  await nodes.countUsedBytes(transaction, record, undefined)
  if (record.type !== 'file') return
  for await (const [key] of transaction.range(locksOf(inode))) transaction.delete(key)
}

function refuseOtherType(moved: EntryRecord, replaced: EntryRecord, to: Place): void {
  const isDirectory = replaced.type === 'directory'
  if (isDirectory === (moved.type === 'directory')) return
  const what = isDirectory ? 'a directory' : `a ${replaced.type}`
  throw new MetadataError(isDirectory ? 'is_a_directory' : 'not_a_directory', `Cannot replace ${nodes.quoted(to)}: it is ${what}`)
}

async function refuseOwnDescendant(transaction: Transaction, directory: InodeNumber, to: Place): Promise<void> {
  const seen = new Set<InodeNumber>()
  for (let at = to.parent; ; ) {
    if (at === directory) throw new InvalidArgumentError(`Cannot move directory ${directory} to ${nodes.quoted(to)}: that is within itself`)
    if (seen.has(at)) throw new InternalError(`Cannot move directory ${directory}: directory ${at} is its own ancestor`)
    seen.add(at)
    const { parent } = await nodes.requireDirectory(transaction, at)
    if (parent === undefined || parent === at) return
    at = parent
  }
}
