/** A metadata store. Checks every argument and applies every rule of the tree, once for all stores. */
import type { BackupOptions, RestoreOptions, SnapshotSink, SnapshotSource, StoreKind } from '../contracts/backupable.ts'
import type {
  ByteRangeLock, Content, ImportOptions, Inode, InodeAttributes, InodeNumber, MetadataStore, MetadataView, NewInode, PendingUpload, Place,
  RenameOptions, Share,
} from '../contracts/metadata-store.ts'
import type { PayloadIdSet } from '../payload-ids/payload-id-set.ts'
import * as files from './files.ts'
import * as tree from './tree.ts'
import type { TreeTransaction } from './tree-transaction.ts'
import * as check from './validate.ts'
import { type TreeReader, ValidatedReader } from './validated-reader.ts'

/** What a mutation reads first. A store may fetch that for many mutations at once. */
export interface WillRead {
  readonly places?: readonly Place[]
  readonly inodes?: readonly InodeNumber[]
}

export abstract class ValidatedStore extends ValidatedReader implements MetadataStore {
  abstract readonly kind: StoreKind
  abstract readonly schemaVersion: number
  abstract readonly storeId: string
  readonly #clock: () => number

  /** `clock` gives the time in milliseconds since 1970. */
  constructor(reader: TreeReader, clock: () => number = Date.now) {
    super(reader)
    this.#clock = clock
  }

  abstract backup(sink: SnapshotSink, options?: BackupOptions): Promise<PayloadIdSet>
  abstract restore(source: SnapshotSource, options?: RestoreOptions): Promise<void>
  abstract view(): Promise<MetadataView>
  abstract importView(view: MetadataView, options?: ImportOptions): Promise<void>
  abstract close(): Promise<void>

  /** Runs one mutation, as a whole or not at all. The store may call `work` several times until it succeeds. */
  protected abstract change<T>(work: (transaction: TreeTransaction) => Promise<T>, willRead: WillRead): Promise<T>

  async createShare(
    name: string,
    { options = {}, root = {} }: { readonly options?: Readonly<Record<string, string>>; readonly root?: Partial<InodeAttributes> } = {},
  ): Promise<Share> {
    check.checkName(name, 'share name')
    check.checkShareOptions(options)
    check.checkAttributes(root)
    return await this.change((transaction) => tree.createShare(transaction, { name, createdAtMs: this.#clock(), options, root }), {})
  }

  async removeShare(name: string): Promise<void> {
    check.checkName(name, 'share name')
    await this.change((transaction) => tree.removeShare(transaction, name), {})
  }

  async create(place: Place, inode: NewInode): Promise<Inode> {
    check.checkPlace(place)
    check.checkNewInode(inode)
    return await this.change((transaction) => tree.createInode(transaction, place, { inode, nowMs: this.#clock() }), { places: [place] })
  }

  async link(place: Place, inode: InodeNumber): Promise<Inode> {
    check.checkPlace(place)
    check.checkInodeNumber(inode)
    return await this.change((transaction) => tree.linkInode(transaction, place, inode), { places: [place], inodes: [inode] })
  }

  async unlink(place: Place): Promise<void> {
    check.checkPlace(place)
    await this.change((transaction) => tree.unlinkEntry(transaction, place), { places: [place] })
  }

  async rename(from: Place, to: Place, { existing = 'replace' }: RenameOptions = {}): Promise<void> {
    check.checkPlace(from)
    check.checkPlace(to)
    check.checkRenameMode(existing)
    await this.change((transaction) => tree.renameEntry(transaction, { from, to, existing }), { places: [from, to] })
  }

  async setAttributes(inode: InodeNumber, changes: Partial<InodeAttributes>): Promise<Inode> {
    check.checkInodeNumber(inode)
    check.checkAttributes(changes)
    return await this.change((transaction) => files.changeAttributes(transaction, inode, { changes, nowMs: this.#clock() }), { inodes: [inode] })
  }

  async setContent(
    inode: InodeNumber,
    content: Content | undefined,
    { size, modifiedAtNs }: { readonly size: number; readonly modifiedAtNs?: bigint | undefined },
  ): Promise<Inode> {
    check.checkInodeNumber(inode)
    if (content !== undefined) check.checkContent(content)
    check.checkInteger(size, { what: 'size' })
    if (modifiedAtNs !== undefined) check.checkTimeNs(modifiedAtNs, 'modifiedAtNs')
    return await this.change((transaction) => files.changeContent(transaction, inode, { content, size, modifiedAtNs, nowMs: this.#clock() }), { inodes: [inode] })
  }

  async putUpload(upload: PendingUpload): Promise<void> {
    check.checkUpload(upload)
    await this.change((transaction) => files.putUpload(transaction, upload), { inodes: [upload.parent] })
  }

  async completeUpload(uploadId: string, attributes: Partial<InodeAttributes> = {}): Promise<Inode> {
    check.checkUploadId(uploadId)
    check.checkAttributes(attributes)
    return await this.change((transaction) => files.completeUpload(transaction, uploadId, { attributes, nowMs: this.#clock() }), {})
  }

  async removeUpload(uploadId: string): Promise<void> {
    check.checkUploadId(uploadId)
    await this.change((transaction) => files.removeUpload(transaction, uploadId), {})
  }

  async lock(lock: ByteRangeLock): Promise<void> {
    check.checkLock(lock)
    await this.change((transaction) => files.takeLock(transaction, lock), { inodes: [lock.inode] })
  }

  async unlock(range: Omit<ByteRangeLock, 'kind'>): Promise<void> {
    check.checkRange(range)
    await this.change((transaction) => files.releaseRange(transaction, range), { inodes: [range.inode] })
  }

  async setSetting(name: string, value: string | undefined): Promise<void> {
    check.checkSettingName(name)
    if (value !== undefined) check.checkSettingValue(value)
    await this.change((transaction) => transaction.putSetting(name, value), {})
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
