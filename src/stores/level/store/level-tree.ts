/** One mutation of a metadata store, as reads and writes of records. Updates what follows from them, such as counts and references. */
import type { Block, ByteRangeLock, Inode, InodeAttributes, InodeNumber, InodeType, PendingUpload, Place, Share } from '../../../contracts/metadata-store.ts'
import { InternalError } from '../../../errors/errors.ts'
import { usedBytesOf } from '../../../metadata/inodes.ts'
import type { BlockOwner, Counts, EntryRecord, InodeFields, PlacedEntry, TreeTransaction } from '../../../metadata/tree-transaction.ts'
import type { Transaction } from './commit-queue.ts'
import { putBlocks, readBlocks, removeBlocks } from './contents.ts'
import * as keys from './keys.ts'
import * as nodes from './nodes.ts'
import * as records from './records.ts'

/** A transaction that does not lock, for one mutation runs at a time. */
export class LevelTree implements TreeTransaction {
  readonly #transaction: Transaction
  /** The inodes that were read, with the changes since. */
  readonly #inodes = new Map<InodeNumber, records.InodeRecord | undefined>()

  constructor(transaction: Transaction) {
    this.#transaction = transaction
  }

  async shareRoot(name: string): Promise<InodeNumber | undefined> {
    return (await nodes.readShare(this.#transaction, name))?.root
  }

  async addShare({ name, createdAtMs, options }: Omit<Share, 'root'>, fields: InodeFields): Promise<InodeNumber> {
    const root = await this.#allocateInode()
    this.#putInode(root, { ...fields, parent: root })
    this.#transaction.put(keys.shareKey(name), records.encodeShare({ root, createdAtMs, options }))
    return root
  }

  async removeShare(name: string, root: InodeNumber): Promise<void> {
    this.#deleteInode(root)
    this.#transaction.delete(keys.shareKey(name))
  }

  async typeOf(inode: InodeNumber): Promise<InodeType | undefined> {
    return (await this.#readInode(inode))?.type
  }

  async inode(inode: InodeNumber): Promise<Inode | undefined> {
    const record = await this.#readInode(inode)
    return record === undefined ? undefined : nodes.inodeOf(inode, record)
  }

  async lock(inodes: readonly InodeNumber[]): Promise<ReadonlyMap<InodeNumber, Counts>> {
    const found = new Map<InodeNumber, Counts>()
    for (const inode of inodes) {
      const record = await this.#readInode(inode)
      if (record !== undefined) found.set(inode, record)
    }
    return found
  }

  async lockMoves(): Promise<void> {}

  async entry(place: Place): Promise<EntryRecord | undefined> {
    return await nodes.readEntry(this.#transaction, place)
  }

  async parentOf(place: Place): Promise<{ readonly type: InodeType; readonly isTaken: boolean } | undefined> {
    const type = await this.typeOf(place.parent)
    return type === undefined ? undefined : { type, isTaken: (await this.#transaction.get(keys.entryKey(place))) !== undefined }
  }

  async requireUnchanged(): Promise<void> {}

  async hasEntries(directory: InodeNumber): Promise<boolean> {
    for await (const _ of this.#transaction.range(keys.entriesOf(directory), { pageSize: 1 })) return true
    return false
  }

  async isWithin(directory: InodeNumber, ancestor: InodeNumber): Promise<boolean> {
    const seen = new Set<InodeNumber>()
    for (let at = directory; at !== ancestor; ) {
      if (seen.has(at)) throw new InternalError(`Cannot move directory ${ancestor}: directory ${at} is its own ancestor`)
      seen.add(at)
      const { parent } = await this.#requireInode(at)
      if (parent === undefined || parent === at) return false
      at = parent
    }
    return true
  }

  async addInode(place: Place, fields: InodeFields): Promise<InodeNumber> {
    const inode = await this.#allocateInode()
    this.#putInode(inode, { ...fields, parent: fields.type === 'directory' ? place.parent : undefined })
    this.#putReference(inode, fields.payloadId)
    this.#putEntry(place, { inode, type: fields.type })
    if (fields.type === 'directory') await this.#changeLinks(place.parent, 1)
    await this.#countBytes(usedBytesOf(fields))
    return inode
  }

  async addEntry({ place, entry }: PlacedEntry): Promise<void> {
    this.#putEntry(place, entry)
    await this.#changeLinks(entry.inode, 1)
  }

  async removeEntry({ place, entry }: PlacedEntry): Promise<void> {
    this.#transaction.delete(keys.entryKey(place))
    await this.#changeLinks(entry.inode, -1)
  }

  async removeInode({ place, entry: { inode } }: PlacedEntry): Promise<void> {
    const record = await this.#requireInode(inode)
    this.#transaction.delete(keys.entryKey(place))
    if (record.type === 'directory') await this.#changeLinks(place.parent, -1)
    this.#deleteInode(inode)
    this.#removeReference(inode, record.payloadId)
    if (record.blockCount > 0) await this.removeBlocks({ inode })
    await this.#countBytes(-usedBytesOf(record))
    if (record.type === 'file') for await (const [key] of this.#transaction.range(keys.locksOf(inode))) this.#transaction.delete(key)
  }

  async moveEntry({ place, entry }: PlacedEntry, to: Place): Promise<void> {
    this.#transaction.delete(keys.entryKey(place))
    await this.#putMoved(entry, place, to)
  }

  async exchangeEntries(one: PlacedEntry, other: PlacedEntry): Promise<void> {
    await this.#putMoved(other.entry, other.place, one.place)
    await this.#putMoved(one.entry, one.place, other.place)
  }

  async putAttributes({ inode, type, size }: Inode, attributes: InodeAttributes): Promise<void> {
    this.#putInode(inode, { ...(await this.#requireInode(inode)), ...attributes })
    await this.#countBytes(usedBytesOf({ type, size: attributes.size }) - usedBytesOf({ type, size }))
  }

  async putContent(before: Inode, { inode, ...after }: Inode): Promise<void> {
    this.#removeReference(inode, before.payloadId)
    this.#putReference(inode, after.payloadId)
    this.#putInode(inode, { ...after, parent: undefined })
    await this.#countBytes(usedBytesOf(after) - usedBytesOf(before))
  }

  async putBlocks(owner: BlockOwner, blocks: readonly Block[]): Promise<void> {
    putBlocks(this.#transaction, owner, blocks)
  }

  async removeBlocks(owner: BlockOwner): Promise<void> {
    await removeBlocks(this.#transaction, owner)
  }

  async putUpload({ uploadId, parent, name, startedAtMs, blocks }: PendingUpload): Promise<void> {
    this.#transaction.put(keys.uploadKey(uploadId), records.encodeUpload({ parent, name, startedAtMs, blockCount: blocks.length }))
  }

  async uploadPlace(uploadId: string): Promise<Place | undefined> {
    const upload = await nodes.readRecord(this.#transaction, keys.uploadKey(uploadId), records.decodeUpload)
    return upload === undefined ? undefined : { parent: upload.parent, name: upload.name }
  }

  async uploadSize(uploadId: string): Promise<{ readonly bytes: number; readonly blocks: number }> {
    const sum = { bytes: 0, blocks: 0 }
    for await (const { bytes } of readBlocks(this.#transaction, { uploadId })) {
      sum.bytes += bytes
      sum.blocks++
    }
    return sum
  }

  async moveUpload(uploadId: string, inode: InodeNumber): Promise<void> {
    const blocks: Block[] = []
    for await (const block of readBlocks(this.#transaction, { uploadId })) blocks.push(block)
    await this.removeUpload(uploadId)
    await this.putBlocks({ inode }, blocks)
    this.#putInode(inode, { ...(await this.#requireInode(inode)), blockCount: blocks.length })
  }

  async removeUpload(uploadId: string): Promise<void> {
    await this.removeBlocks({ uploadId })
    this.#transaction.delete(keys.uploadKey(uploadId))
  }

  async locks(inode: InodeNumber): Promise<readonly ByteRangeLock[]> {
    return await nodes.readLocks(this.#transaction, inode)
  }

  async replaceLocks(removed: readonly ByteRangeLock[], added: readonly ByteRangeLock[]): Promise<void> {
    for (const { inode, start, owner } of removed) this.#transaction.delete(keys.lockKey(inode, start, owner))
    for (const lock of added) this.#transaction.put(keys.lockKey(lock.inode, lock.start, lock.owner), records.encodeLock(lock))
  }

  async putSetting(name: string, value: string | undefined): Promise<void> {
    if (value === undefined) this.#transaction.delete(keys.settingKey(name))
    else this.#transaction.put(keys.settingKey(name), records.encodeText(value))
  }

  async #readInode(inode: InodeNumber): Promise<records.InodeRecord | undefined> {
    if (!this.#inodes.has(inode)) this.#inodes.set(inode, await nodes.readInode(this.#transaction, inode))
    return this.#inodes.get(inode)
  }

  /** Reads an inode that an entry or a share names. The store is damaged if it is missing. */
  async #requireInode(inode: InodeNumber): Promise<records.InodeRecord> {
    const record = await this.#readInode(inode)
    if (record === undefined) throw new InternalError(`Cannot change inode ${inode}: it is missing`)
    return record
  }

  #putInode(inode: InodeNumber, record: records.InodeRecord): void {
    this.#inodes.set(inode, record)
    this.#transaction.put(keys.inodeKey(inode), records.encodeInode(record))
  }

  #deleteInode(inode: InodeNumber): void {
    this.#inodes.set(inode, undefined)
    this.#transaction.delete(keys.inodeKey(inode))
  }

  #putEntry(place: Place, entry: EntryRecord): void {
    this.#transaction.put(keys.entryKey(place), records.encodeEntry(entry))
  }

  /** Puts an entry at its new place. The caller deals with the old place. */
  async #putMoved(entry: EntryRecord, from: Place, to: Place): Promise<void> {
    this.#putEntry(to, entry)
    if (entry.type !== 'directory' || from.parent === to.parent) return
    this.#putInode(entry.inode, { ...(await this.#requireInode(entry.inode)), parent: to.parent })
    await this.#changeLinks(from.parent, -1)
    await this.#changeLinks(to.parent, 1)
  }

  #putReference(inode: InodeNumber, payloadId: string | undefined): void {
    if (payloadId !== undefined) this.#transaction.put(keys.referenceKey(payloadId, keys.inodeOwner(inode)), records.REFERENCE_VALUE)
  }

  #removeReference(inode: InodeNumber, payloadId: string | undefined): void {
    if (payloadId !== undefined) this.#transaction.delete(keys.referenceKey(payloadId, keys.inodeOwner(inode)))
  }

  async #changeLinks(inode: InodeNumber, by: number): Promise<void> {
    const record = await this.#requireInode(inode)
    this.#putInode(inode, { ...record, links: record.links + by })
  }

  async #countBytes(by: bigint): Promise<void> {
    if (by !== 0n) this.#transaction.put(keys.USED_BYTES_KEY, String((await nodes.readUsedBytes(this.#transaction)) + by))
  }

  /** A number that was never used in this store. */
  async #allocateInode(): Promise<InodeNumber> {
    const inode = await nodes.readNextInode(this.#transaction)
    if (inode >= Number.MAX_SAFE_INTEGER) throw new InternalError('Cannot create an inode: all numbers have been used')
    this.#transaction.put(keys.NEXT_INODE_KEY, String(inode + 1))
    return inode
  }
}
