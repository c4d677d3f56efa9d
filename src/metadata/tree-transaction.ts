/** What a store does for one mutation. The rules of the tree are in `tree.ts` and `files.ts`; a store reads, locks and writes. */
import type { Block, ByteRangeLock, DirectoryEntry, Inode, InodeAttributes, InodeNumber, InodeType, PendingUpload, Place, Share } from '../contracts/metadata-store.ts'

/** What a directory entry says of the inode that it names. */
export type EntryRecord = Omit<DirectoryEntry, 'name'>

/** An inode without its number. */
export type InodeFields = Omit<Inode, 'inode'>

/** What a store counts on an inode. */
export type Counts = Pick<Inode, 'links' | 'blockCount'>

/** What has a block list. */
export type BlockOwner = { readonly inode: InodeNumber } | { readonly uploadId: string }

/** An entry and where it is. */
export interface PlacedEntry {
  readonly place: Place
  readonly entry: EntryRecord
}

/**
 * How an inode is locked until the transaction ends. `use`: it stays, and stays of its type. `change`: no other transaction changes it. `remove`: no
 * other transaction locks it at all; of a directory this also keeps entries from being made in it.
 */
export type LockMode = 'use' | 'change' | 'remove'

/**
 * One mutation under way, made as a whole or not at all. A store where one mutation runs at a time locks nothing. The store itself keeps in step
 * what follows from its records: links, block counts, used bytes, references to payloads, and the locks of a file that is removed.
 */
export interface TreeTransaction {
  /** The root of a share, which is locked. */
  shareRoot(name: string): Promise<InodeNumber | undefined>
  /** Makes a share and its root. */
  addShare(share: Omit<Share, 'root'>, root: InodeFields): Promise<InodeNumber>
  removeShare(name: string, root: InodeNumber): Promise<void>

  /** The type of an inode, which is not locked. */
  typeOf(inode: InodeNumber): Promise<InodeType | undefined>
  inode(inode: InodeNumber, mode: LockMode): Promise<Inode | undefined>
  /** Locks those of several inodes that are there, in the order of their numbers. */
  lock(inodes: readonly InodeNumber[], mode: LockMode): Promise<ReadonlyMap<InodeNumber, Counts>>
  /** Keeps other transactions from moving directories. */
  lockMoves(): Promise<void>

  entry(place: Place): Promise<EntryRecord | undefined>
  /** The type of a place's parent, which is locked, and whether the name in it is taken. */
  parentOf(place: Place, mode: LockMode): Promise<{ readonly type: InodeType; readonly isTaken: boolean } | undefined>
  /** Throws what has the mutation begun anew unless an entry, whose inode has been locked since it was read, still names that inode. */
  requireUnchanged(entry: PlacedEntry): Promise<void>
  hasEntries(directory: InodeNumber): Promise<boolean>
  /** Whether a directory is another or below it. */
  isWithin(directory: InodeNumber, ancestor: InodeNumber): Promise<boolean>

  /** Makes an inode with its first entry; its blocks are put afterwards. */
  addInode(place: Place, inode: InodeFields): Promise<InodeNumber>
  /** Makes another entry for an inode that is not a directory. */
  addEntry(entry: PlacedEntry): Promise<void>
  /** Removes an entry of an inode that has others. */
  removeEntry(entry: PlacedEntry): Promise<void>
  /** Removes an entry, the inode that it names, and all that hangs on that. */
  removeInode(entry: PlacedEntry, counts: Counts): Promise<void>
  moveEntry(entry: PlacedEntry, to: Place): Promise<void>
  exchangeEntries(one: PlacedEntry, other: PlacedEntry): Promise<void>

  putAttributes(before: Inode, attributes: InodeAttributes): Promise<void>
  /** Stores the size, the times and the one payload of a file. */
  putContent(before: Inode, after: Inode): Promise<void>
  /** Stores a block list where there is none. */
  putBlocks(owner: BlockOwner, blocks: readonly Block[]): Promise<void>
  removeBlocks(owner: BlockOwner): Promise<void>

  /** Stores an upload, or replaces it, without its blocks. */
  putUpload(upload: PendingUpload): Promise<void>
  /** Where an upload, which is locked, is to go. */
  uploadPlace(uploadId: string): Promise<Place | undefined>
  /** The sum of the bytes of an upload's blocks, and how many there are. */
  uploadSize(uploadId: string): Promise<{ readonly bytes: number; readonly blocks: number }>
  /** Makes the blocks of an upload those of a file that has none, and removes the upload. */
  moveUpload(uploadId: string, inode: InodeNumber): Promise<void>
  removeUpload(uploadId: string): Promise<void>

  locks(inode: InodeNumber): Promise<readonly ByteRangeLock[]>
  replaceLocks(removed: readonly ByteRangeLock[], added: readonly ByteRangeLock[]): Promise<void>

  /** Stores a setting; `undefined` removes it. */
  putSetting(name: string, value: string | undefined): Promise<void>
}
