/** Mutations of shares and directory entries, with their refusals. Arguments have been checked. */
import type { Inode, InodeAttributes, InodeNumber, NewInode, Place, RenameMode, Share } from '../contracts/metadata-store.ts'
import { InternalError, MetadataError } from '../errors/errors.ts'
import { blocksOf, newInode } from './inodes.ts'
import * as refusals from './refusals.ts'
import type { Counts, EntryRecord, LockMode, PlacedEntry, TreeTransaction } from './tree-transaction.ts'

export interface NewShare extends Omit<Share, 'root'> {
  readonly root: Partial<InodeAttributes>
}

export async function createShare(transaction: TreeTransaction, { name, createdAtMs, options, root: attributes }: NewShare): Promise<Share> {
  if ((await transaction.shareRoot(name)) !== undefined) throw refusals.shareTaken(name)
  const root = await transaction.addShare({ name, createdAtMs, options }, newInode({ ...attributes, type: 'directory' }, createdAtMs))
  return { name, root, createdAtMs, options: { ...options } }
}

export async function removeShare(transaction: TreeTransaction, name: string): Promise<void> {
  const root = await transaction.shareRoot(name)
  if (root === undefined) throw refusals.noSuchShare(name)
  await transaction.lock([root], 'remove')
  if (await transaction.hasEntries(root)) throw refusals.directoryNotEmpty(root)
  await transaction.removeShare(name, root)
}

export async function createInode(
  transaction: TreeTransaction,
  place: Place,
  { inode, nowMs }: { readonly inode: NewInode; readonly nowMs: number },
): Promise<Inode> {
  // A new directory adds a link to its parent.
  await requireFree(transaction, place, inode.type === 'directory' ? 'change' : 'use')
  const fields = newInode(inode, nowMs)
  const number = await transaction.addInode(place, fields)
  await transaction.putBlocks({ inode: number }, blocksOf(inode.content))
  return { inode: number, ...fields }
}

export async function linkInode(transaction: TreeTransaction, place: Place, inode: InodeNumber): Promise<Inode> {
  const linked = await requireInode(transaction, inode, 'change')
  if (linked.type === 'directory') throw new MetadataError('is_a_directory', `Cannot link inode ${inode}: it is a directory`)
  await requireFree(transaction, place, 'use')
  await transaction.addEntry({ place, entry: { inode, type: linked.type } })
  return { ...linked, links: linked.links + 1 }
}

export async function unlinkEntry(transaction: TreeTransaction, place: Place): Promise<void> {
  const entry = await requireEntry(transaction, place)
  const counts = await transaction.lock(entry.type === 'directory' ? [place.parent, entry.inode] : [entry.inode], 'remove')
  await removeEntry(transaction, { place, entry }, counts.get(entry.inode))
}

export interface Renaming {
  readonly from: Place
  readonly to: Place
  readonly existing: RenameMode
}

export async function renameEntry(transaction: TreeTransaction, { from, to, existing }: Renaming): Promise<void> {
  const moved = await requireEntry(transaction, from)
  await requireDirectory(transaction, to.parent)
  const isExchange = existing === 'exchange'
  // Take this lock before any inode is locked, so that a waiting transaction does not block others.
  if ((moved.type === 'directory' || isExchange) && from.parent !== to.parent) await transaction.lockMoves()
  const other = await transaction.entry(to)
  if (existing === 'refuse' && other !== undefined) throw refusals.nameTaken(to)
  if (isExchange && other === undefined) throw refusals.noSuchEntry(to)
  // For the same place, or two names of one file, POSIX does nothing.
  if (other?.inode === moved.inode) return
  await refuseOwnDescendant(transaction, moved, to)
  if (other !== undefined && isExchange) await refuseOwnDescendant(transaction, other, from)
  if (other !== undefined && !isExchange) refusals.requireReplaceable({ moved: moved.type, replaced: other.type, to })

  const counts = await transaction.lock(touchedInodes({ moved, other, parents: [from.parent, to.parent] }), 'remove')
  const source = { place: from, entry: moved }
  await transaction.requireUnchanged(source)
  if (other === undefined) return await transaction.moveEntry(source, to)
  const target = { place: to, entry: other }
  if (isExchange) {
    await transaction.requireUnchanged(target)
    return await transaction.exchangeEntries(source, target)
  }
  await removeEntry(transaction, target, counts.get(other.inode))
  await transaction.moveEntry(source, to)
}

export async function requireInode(transaction: TreeTransaction, inode: InodeNumber, mode: LockMode): Promise<Inode> {
  const found = await transaction.inode(inode, mode)
  if (found === undefined) throw refusals.noSuchInode(inode)
  return found
}

export async function requireDirectory(transaction: TreeTransaction, inode: InodeNumber): Promise<void> {
  refusals.requireDirectoryType(inode, await transaction.typeOf(inode))
}

async function requireEntry(transaction: TreeTransaction, place: Place): Promise<EntryRecord> {
  const entry = await transaction.entry(place)
  if (entry !== undefined) return entry
  await requireDirectory(transaction, place.parent)
  throw refusals.noSuchEntry(place)
}

/** Locks the parent directory, and throws unless it exists and the name is free. */
async function requireFree(transaction: TreeTransaction, place: Place, mode: LockMode): Promise<void> {
  const parent = await transaction.parentOf(place, mode)
  refusals.requireDirectoryType(place.parent, parent?.type)
  if (parent?.isTaken === true) throw refusals.nameTaken(place)
}

/** Removes an entry whose inode is locked, and the inode with its last entry. */
async function removeEntry(transaction: TreeTransaction, placed: PlacedEntry, counts: Counts | undefined): Promise<void> {
  await transaction.requireUnchanged(placed)
  const { inode, type } = placed.entry
  if (counts === undefined) throw new InternalError(`Cannot read ${refusals.quoted(placed.place)}: its inode ${inode} is missing`)
  if (type === 'directory' && (await transaction.hasEntries(inode))) throw refusals.directoryNotEmpty(inode)
  if (type === 'directory' || counts.links === 1) await transaction.removeInode(placed, counts)
  else await transaction.removeEntry(placed)
}

/** The inodes that a renaming changes: directories count their subdirectories as links. */
function touchedInodes({ moved, other, parents }: { readonly moved: EntryRecord; readonly other: EntryRecord | undefined; readonly parents: readonly InodeNumber[] }): readonly InodeNumber[] {
  const inodes = [moved.inode, ...(other === undefined ? [] : [other.inode])]
  return moved.type === 'directory' || other?.type === 'directory' ? [...inodes, ...parents] : inodes
}

/** Throws if a directory would move into itself. Ancestors change only by moves, which are locked. */
async function refuseOwnDescendant(transaction: TreeTransaction, { inode, type }: EntryRecord, to: Place): Promise<void> {
  if (type === 'directory' && (await transaction.isWithin(to.parent, inode))) throw refusals.withinItself(inode, to)
}
