/** A metadata store. Checks every argument and applies every rule of the tree, once for all stores. */
import type { BackupOptions, RestoreOptions, SnapshotSink, SnapshotSource, StoreKind } from '../contracts/backupable.ts'
import type {
  ByteRangeLock, ImportOptions, InodeAttributes, InodeNumber, MetadataStore, MetadataView, NewInode, PendingUpload, Place, RenameOptions,
} from '../contracts/metadata-store.ts'
import type { PayloadIdSet } from '../payload-ids/payload-id-set.ts'
import { type Fields, OBJECT, checkArgument, checkFields } from '../util/check-options.ts'
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

const ATTRIBUTES: Fields<Partial<InodeAttributes>> = {
  name: 'attributes',
  fields: { mode: true, uid: true, gid: true, size: true, accessedAtNs: true, modifiedAtNs: true, changedAtNs: true, createdAtNs: true, xattrs: true },
}
const ROOT_ATTRIBUTES: typeof ATTRIBUTES = { ...ATTRIBUTES, name: 'root' }
const NEW_INODE: Fields<NewInode> = { name: 'inode', fields: { type: true, symlinkTarget: true, content: true, ...ATTRIBUTES.fields } }
const SHARE_OPTIONS: Fields<NonNullable<Parameters<MetadataStore['createShare']>[1]>> = { name: 'options', fields: { options: true, root: true } }
const RENAME_OPTIONS: Fields<RenameOptions> = { name: 'options', fields: { existing: true } }
const CONTENT_OPTIONS: Fields<Parameters<MetadataStore['setContent']>[2]> = { name: 'options', fields: { size: true, modifiedAtNs: true } }
const UPLOAD: Fields<PendingUpload> = { name: 'upload', fields: { uploadId: true, parent: true, name: true, startedAtMs: true, blocks: true } }
const LOCK: Fields<ByteRangeLock> = { name: 'lock', fields: { inode: true, owner: true, kind: true, start: true, end: true } }

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

  readonly createShare: MetadataStore['createShare'] = async (name, given = {}) => {
    check.checkName(name, 'share name')
    checkFields('createShare', given, SHARE_OPTIONS)
    const { options = {}, root = {} } = given
    checkArgument('createShare', options, { name: 'options', kind: OBJECT })
    check.checkShareOptions(options)
    checkFields('createShare', root, ROOT_ATTRIBUTES)
    check.checkAttributes(root)
    return await this.change((transaction) => tree.createShare(transaction, { name, createdAtMs: this.#clock(), options, root }), {})
  }

  readonly removeShare: MetadataStore['removeShare'] = async (name) => {
    check.checkName(name, 'share name')
    await this.change((transaction) => tree.removeShare(transaction, name), {})
  }

  readonly create: MetadataStore['create'] = async (place, inode) => {
    check.checkPlace(place)
    checkFields('create', inode, NEW_INODE)
    check.checkNewInode(inode)
    return await this.change((transaction) => tree.createInode(transaction, place, { inode, nowMs: this.#clock() }), { places: [place] })
  }

  readonly link: MetadataStore['link'] = async (place, inode) => {
    check.checkPlace(place)
    check.checkInodeNumber(inode)
    return await this.change((transaction) => tree.linkInode(transaction, place, inode), { places: [place], inodes: [inode] })
  }

  readonly unlink: MetadataStore['unlink'] = async (place) => {
    check.checkPlace(place)
    await this.change((transaction) => tree.unlinkEntry(transaction, place), { places: [place] })
  }

  readonly rename: MetadataStore['rename'] = async (from, to, options = {}) => {
    check.checkPlace(from)
    check.checkPlace(to)
    checkFields('rename', options, RENAME_OPTIONS)
    const { existing = 'replace' } = options
    check.checkRenameMode(existing)
    await this.change((transaction) => tree.renameEntry(transaction, { from, to, existing }), { places: [from, to] })
  }

  readonly setAttributes: MetadataStore['setAttributes'] = async (inode, changes) => {
    check.checkInodeNumber(inode)
    checkFields('setAttributes', changes, ATTRIBUTES)
    check.checkAttributes(changes)
    return await this.change((transaction) => files.changeAttributes(transaction, inode, { changes, nowMs: this.#clock() }), { inodes: [inode] })
  }

  readonly setContent: MetadataStore['setContent'] = async (inode, content, options) => {
    check.checkInodeNumber(inode)
    checkFields('setContent', options, CONTENT_OPTIONS)
    const { size, modifiedAtNs } = options
    if (content !== undefined) check.checkContent(content)
    check.checkInteger(size, { what: 'size' })
    if (modifiedAtNs !== undefined) check.checkTimeNs(modifiedAtNs, 'modifiedAtNs')
    return await this.change((transaction) => files.changeContent(transaction, inode, { content, size, modifiedAtNs, nowMs: this.#clock() }), {
      inodes: [inode],
    })
  }

  readonly putUpload: MetadataStore['putUpload'] = async (upload) => {
    checkFields('putUpload', upload, UPLOAD)
    check.checkUpload(upload)
    await this.change((transaction) => files.putUpload(transaction, upload), { inodes: [upload.parent] })
  }

  readonly completeUpload: MetadataStore['completeUpload'] = async (uploadId, attributes = {}) => {
    check.checkUploadId(uploadId)
    checkFields('completeUpload', attributes, ATTRIBUTES)
    check.checkAttributes(attributes)
    return await this.change((transaction) => files.completeUpload(transaction, uploadId, { attributes, nowMs: this.#clock() }), {})
  }

  readonly removeUpload: MetadataStore['removeUpload'] = async (uploadId) => {
    check.checkUploadId(uploadId)
    await this.change((transaction) => files.removeUpload(transaction, uploadId), {})
  }

  readonly lock: MetadataStore['lock'] = async (lock) => {
    checkFields('lock', lock, LOCK)
    check.checkLock(lock)
    await this.change((transaction) => files.takeLock(transaction, lock), { inodes: [lock.inode] })
  }

  readonly unlock: MetadataStore['unlock'] = async (range) => {
    // It may be a whole lock.
    checkFields('unlock', range as ByteRangeLock, LOCK)
    check.checkRange(range)
    await this.change((transaction) => files.releaseRange(transaction, range), { inodes: [range.inode] })
  }

  readonly setSetting: MetadataStore['setSetting'] = async (name, value) => {
    check.checkSettingName(name)
    if (value !== undefined) check.checkSettingValue(value)
    await this.change((transaction) => transaction.putSetting(name, value), {})
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
