/**
 * The metadata store of a storage server: shares, inodes, directory entries, payload references, block lists, pending
 * uploads, byte-range locks and server settings. One contract, the same behaviour in Memory, LevelDB and Postgres.
 *
 * Every operation is atomic: its records change together or not at all. Names are compared byte for byte, without
 * Unicode normalization. A store never uses an inode number twice.
 *
 * A bad value is refused with `invalid_argument`, and a field that the call does not know with a `TypeError`, before anything is changed:
 * a misspelled reference to a payload would not hold it.
 */
import type { Backupable } from './backupable.ts'

export const INODE_TYPES = ['file', 'directory', 'symlink', 'fifo', 'socket', 'block-device', 'character-device'] as const
export type InodeType = (typeof INODE_TYPES)[number]

/** An inode number, 1 and up; a safe integer. */
export type InodeNumber = number

/** One stretch of a file's content: `bytes` bytes, found at `offset` within a payload. */
export interface Block {
  readonly payloadId: string
  readonly offset: number
  readonly bytes: number
}

/** Where a file's bytes are: nowhere (empty), one payload, or a list of blocks in file order. */
export type Content = { readonly payloadId: string } | { readonly blocks: readonly Block[] }

/** The attributes that can be set on an inode. Times are nanoseconds since 1970, negative before. */
export interface InodeAttributes {
  /** Permission bits, 0 to 0o7777. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Bytes of content; the caller keeps this in step with the content. */
  readonly size: number
  readonly accessedAtNs: bigint
  readonly modifiedAtNs: bigint
  readonly changedAtNs: bigint
  readonly createdAtNs: bigint
  /** Extended attributes by name; values are bytes. */
  readonly xattrs: ReadonlyMap<string, Uint8Array>
}

export interface Inode extends InodeAttributes {
  readonly inode: InodeNumber
  readonly type: InodeType
  /** The number of directory entries of the inode; for a directory 2 plus its subdirectories. */
  readonly links: number
  /** For symlinks only. */
  readonly symlinkTarget: string | undefined
  /** The one payload of a small file; `undefined` for an empty file, for one with a block list, and for other types. */
  readonly payloadId: string | undefined
  /** The number of blocks in `blocks()`. */
  readonly blockCount: number
}

export interface NewInode extends Partial<InodeAttributes> {
  readonly type: InodeType
  readonly symlinkTarget?: string | undefined
  readonly content?: Content | undefined
}

export interface DirectoryEntry {
  readonly name: string
  readonly inode: InodeNumber
  readonly type: InodeType
}

export interface DirectoryPage {
  readonly entries: readonly DirectoryEntry[]
  /** The `after` of the next page; `undefined` at the end. Stays valid while entries come and go. */
  readonly cursor: string | undefined
}

export interface Share {
  readonly name: string
  readonly root: InodeNumber
  readonly createdAtMs: number
  /** Free-form settings of the share, such as a description or a quota. */
  readonly options: Readonly<Record<string, string>>
}

/** An upload that is not a file yet; it refers to payloads as a file does. */
export interface PendingUpload {
  readonly uploadId: string
  readonly parent: InodeNumber
  readonly name: string
  readonly startedAtMs: number
  readonly blocks: readonly Block[]
}

/** A lock on bytes `start` to `end` (exclusive; `undefined` for "to the end, however long it gets"). */
export interface ByteRangeLock {
  readonly inode: InodeNumber
  /** The holder: any text that the server uses to name a client. */
  readonly owner: string
  readonly kind: 'shared' | 'exclusive'
  readonly start: number
  readonly end: number | undefined
}

/** A directory and a name in it. */
export interface Place {
  readonly parent: InodeNumber
  readonly name: string
}

/** The reading half of a metadata store. A store reads its current state, a view that of one instant. */
export interface MetadataReader {
  share(name: string): Promise<Share | undefined>
  /** All shares, by name. */
  shares(): Promise<readonly Share[]>

  inode(inode: InodeNumber): Promise<Inode | undefined>
  lookup(place: Place): Promise<Inode | undefined>
  /** Up to `limit` entries (1 to 10,000, @default 1,000) in name order, from after the cursor. */
  readDirectory(directory: InodeNumber, options?: { readonly after?: string | undefined; readonly limit?: number | undefined }): Promise<DirectoryPage>
  /** The block list of a file, in file order. */
  blocks(inode: InodeNumber): AsyncIterable<Block>

  /** All pending uploads, by ID. */
  uploads(): AsyncIterable<PendingUpload>
  locks(inode: InodeNumber): Promise<readonly ByteRangeLock[]>

  setting(name: string): Promise<string | undefined>
  settings(): Promise<ReadonlyMap<string, string>>

  /** Sum of `size` over all regular files, each counted once. */
  usedBytes(): Promise<number>
  /** Every payload ID that anything in the store refers to, ascending, each once. */
  payloadIds(): AsyncIterable<string>
}

/** An inode as a view lists it. */
export interface ListedInode extends Inode {
  /** The directory that holds a directory; a share's root holds itself. `undefined` for other types. */
  readonly parent: InodeNumber | undefined
}

/** A directory entry as a view lists it. */
export interface ListedEntry extends DirectoryEntry, Place {}

/** A block as a view lists it: `inode` is the file's. */
export interface ListedBlock extends Block {
  readonly inode: InodeNumber
}

/**
 * The state of a store at one instant, unaffected by later writes. A view also lists all that an exact copy needs, each list in one pass
 * and in bounded memory. An open view keeps its data from being reclaimed, so close it.
 */
export interface MetadataView extends MetadataReader {
  /** The number of the next new inode; every inode so far has a smaller one. */
  nextInode(): Promise<InodeNumber>
  /** All inodes, by number. */
  inodes(): AsyncIterable<ListedInode>
  /** All directory entries, by directory, then by name. */
  entries(): AsyncIterable<ListedEntry>
  /** The block lists of all files, by inode, then in file order. */
  allBlocks(): AsyncIterable<ListedBlock>
  /** All locks, by inode. */
  allLocks(): AsyncIterable<ByteRangeLock>

  /** Waits for running reads, iterations included; later reads reject. Idempotent. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export interface ImportOptions {
  /** Ends the import, which leaves the store empty and rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  /** Called from time to time with the number of records written. */
  readonly onProgress?: ((progress: { readonly records: number }) => void) | undefined
  /** Called once with the imported data, before it is committed; a rejection fails the import. The import closes the view. */
  readonly check?: ((imported: MetadataView) => Promise<void>) | undefined
}

/** The ways to treat an existing entry at the target of a rename. */
export const RENAME_MODES = ['replace', 'refuse', 'exchange'] as const
export type RenameMode = (typeof RENAME_MODES)[number]

export interface RenameOptions {
  /**
   * `replace`: a file replaces a file, and a directory an empty directory. `refuse`: an existing entry is an error (`entry_exists`).
   * `exchange`: the two change places, whatever their types; a missing one is an error (`entry_not_found`).
   * @default 'replace'
   */
  readonly existing?: RenameMode | undefined
}

export interface MetadataStore extends Backupable, MetadataReader {
  /** The version of the records' schema. */
  readonly schemaVersion: number
  /** The store's ID, set at creation and kept through restores and imports. */
  readonly storeId: string
  /** Whether no other process can have the store open while this one has. @default false */
  readonly isAlone?: boolean | undefined

  /** Creates a share with an empty root directory. `entry_exists` when the name is taken. */
  createShare(name: string, options?: { readonly options?: Readonly<Record<string, string>>; readonly root?: Partial<InodeAttributes> }): Promise<Share>
  /** `entry_not_found`; `directory_not_empty` when the root holds entries. */
  removeShare(name: string): Promise<void>

  /** Creates an inode and its entry. `entry_exists`, `entry_not_found` (no parent), `not_a_directory`. */
  create(place: Place, inode: NewInode): Promise<Inode>
  /** Adds an entry for an existing inode that is not a directory. */
  link(place: Place, inode: InodeNumber): Promise<Inode>
  /** Removes an entry; with the last entry, also the inode and its references. `directory_not_empty`. */
  unlink(place: Place): Promise<void>
  /** Moves an entry, also to another share. Never makes a directory its own descendant (`invalid_argument`). */
  rename(from: Place, to: Place, options?: RenameOptions): Promise<void>
  setAttributes(inode: InodeNumber, changes: Partial<InodeAttributes>): Promise<Inode>
  /** Replaces a file's content and size, and the payload references with it; `undefined` empties it. */
  setContent(inode: InodeNumber, content: Content | undefined, options: { readonly size: number; readonly modifiedAtNs?: bigint | undefined }): Promise<Inode>

  /** Starts or replaces a pending upload. */
  putUpload(upload: PendingUpload): Promise<void>
  /** Turns an upload into a file at its place, in one step. Does not replace an existing entry. */
  completeUpload(uploadId: string, inode?: Partial<InodeAttributes>): Promise<Inode>
  removeUpload(uploadId: string): Promise<void>

  /** Takes a lock; `lock_conflict` when another owner's overlaps and either is exclusive. Replaces the owner's own on the same bytes. */
  lock(lock: ByteRangeLock): Promise<void>
  /** Unlocks a range of bytes; parts of the owner's locks outside the range stay. */
  unlock(range: Omit<ByteRangeLock, 'kind'>): Promise<void>

  setSetting(name: string, value: string | undefined): Promise<void>

  /** Like `payloadIds`, and also those of the state that the store keeps for rollback; for stores that keep one. */
  retainedPayloadIds?(): AsyncIterable<string>

  /** Opens a view of this instant, for long reads; it blocks no writers, and writers do not block it. */
  view(): Promise<MetadataView>
  /**
   * Fills an empty store with everything in a view of any store, unchanged: inode numbers, links, times, upload IDs, locks. The store keeps
   * its own ID, and never reuses an inode number of the other store. Memory is bounded.
   *
   * A populated store is refused (`restore_destination_not_empty`) before anything is read. The store is left empty when reading the
   * view, writing or `check` fails, when the signal aborts, and when the process ends before it is done.
   */
  importView(view: MetadataView, options?: ImportOptions): Promise<void>

  /** Idempotent. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}
