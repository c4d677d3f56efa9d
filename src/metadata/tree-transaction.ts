/** What a store does in one mutation: it reads, locks and writes. The rules of the tree are in `tree.ts` and `files.ts`. */
import type { Block, ByteRangeLock, DirectoryEntry, Inode, InodeAttributes, InodeNumber, InodeType, PendingUpload, Place, Share } from '../contracts/metadata-store.ts'

/** What a directory entry says about its inode. */
export type EntryRecord = Omit<DirectoryEntry, 'name'>

export type InodeFields = Omit<Inode, 'inode'>

/** The counts that a store keeps for an inode. */
export type Counts = Pick<Inode, 'links' | 'blockCount'>

export type BlockOwner = { readonly inode: InodeNumber } | { readonly uploadId: string }

export interface PlacedEntry {
  readonly place: Place
  readonly entry: EntryRecord
}

/**
 * How an inode is locked until the transaction ends.
 * - `use`: the inode stays, with its type.
 * - `change`: no other transaction changes the inode.
 * - `remove`: no other transaction locks the inode at all, or makes entries in it.
 */
export type LockMode = 'use' | 'change' | 'remove'

/**
 * One mutation, made as a whole or not at all. A store that runs one mutation at a time does not lock.
 * The store updates what follows from its records: links, block counts, used bytes, payload references, and locks of a removed file.
 */
export interface TreeTransaction {
  /** Reads the root of a share, and locks the share. */
  shareRoot(name: string): Promise<InodeNumber | undefined>
  addShare(share: Omit<Share, 'root'>, root: InodeFields): Promise<InodeNumber>
  removeShare(name: string, root: InodeNumber): Promise<void>

  /** Reads the type of an inode, without a lock. */
  typeOf(inode: InodeNumber): Promise<InodeType | undefined>
  inode(inode: InodeNumber, mode: LockMode): Promise<Inode | undefined>
  /** Locks those of the inodes that exist, in the order of their numbers. */
  lock(inodes: readonly InodeNumber[], mode: LockMode): Promise<ReadonlyMap<InodeNumber, Counts>>
  /** Keeps other transactions from moving directories. */
  lockMoves(): Promise<void>

  entry(place: Place): Promise<EntryRecord | undefined>
  /** Locks the parent of a place. Resolves with its type, and whether the name is taken. */
  parentOf(place: Place, mode: LockMode): Promise<{ readonly type: InodeType; readonly isTaken: boolean } | undefined>
  /** Checks that an entry still names the inode that was locked after it was read. If not, throws an error that restarts the mutation. */
  requireUnchanged(entry: PlacedEntry): Promise<void>
  hasEntries(directory: InodeNumber): Promise<boolean>
  /** Whether a directory is `ancestor` or below it. */
  isWithin(directory: InodeNumber, ancestor: InodeNumber): Promise<boolean>

  /** Makes an inode with its first entry; its blocks are put afterwards. */
  addInode(place: Place, inode: InodeFields): Promise<InodeNumber>
  /** Makes another entry for an inode that is not a directory. */
  addEntry(entry: PlacedEntry): Promise<void>
  /** Removes an entry of an inode that has others. */
  removeEntry(entry: PlacedEntry): Promise<void>
  /** Removes an entry, its inode, and all that belongs to the inode. */
  removeInode(entry: PlacedEntry, counts: Counts): Promise<void>
  moveEntry(entry: PlacedEntry, to: Place): Promise<void>
  exchangeEntries(one: PlacedEntry, other: PlacedEntry): Promise<void>

  putAttributes(before: Inode, attributes: InodeAttributes): Promise<void>
  /** Stores the size, the times and the one payload of a file. */
  putContent(before: Inode, after: Inode): Promise<void>
  /** Stores a block list for an owner without one. */
  putBlocks(owner: BlockOwner, blocks: readonly Block[]): Promise<void>
  removeBlocks(owner: BlockOwner): Promise<void>

  /** Stores an upload, or replaces it, without its blocks. */
  putUpload(upload: PendingUpload): Promise<void>
  /** Reads the target place of an upload, and locks the upload. */
  uploadPlace(uploadId: string): Promise<Place | undefined>
  /** The sum of the bytes of an upload's blocks, and their number. */
  uploadSize(uploadId: string): Promise<{ readonly bytes: number; readonly blocks: number }>
  /** Moves the blocks of an upload to a file without blocks, and removes the upload. */
  moveUpload(uploadId: string, inode: InodeNumber): Promise<void>
  removeUpload(uploadId: string): Promise<void>

  locks(inode: InodeNumber): Promise<readonly ByteRangeLock[]>
  replaceLocks(removed: readonly ByteRangeLock[], added: readonly ByteRangeLock[]): Promise<void>

  /** Stores a setting; `undefined` removes it. */
  putSetting(name: string, value: string | undefined): Promise<void>
}
