import type { BackupOptions, Backupable, RestoreOptions, SnapshotSink, SnapshotSource, StoreKind } from '../../backupable.ts'
import type {
  Block,
  ByteRangeLock,
  Content,
  DirectoryEntry,
  DirectoryPage,
  Inode,
  InodeAttributes,
  InodeNumber,
  MetadataStore,
  NewInode,
  PendingUpload,
  Place,
  Share,
} from '../../metadata/metadata-store.ts'
import * as check from '../../metadata/validate.ts'
import type { PayloadIdSet } from '../../payload-ids.ts'
import { CommitQueue } from './commit-queue.ts'
import { blocksOfInode, readBlocks } from './contents.ts'
import * as keys from './keys.ts'
import { levelBackupable } from './level-backupable.ts'
import * as nodes from './nodes.ts'
import { decodeRecord } from './record-check.ts'
import * as records from './records.ts'
import { identifyStore } from './store-identity.ts'
import { type LevelDatabase, TextDatabase } from './text-database.ts'
import * as tree from './tree.ts'
import * as uploads from './uploads.ts'

export interface LevelMetadataStoreOptions {
  /** `memory` for memory-level, `level` for classic-level. */
  readonly kind: StoreKind
  /** The ID of a store that is made new, 1 to 64 characters of printable ASCII; one that exists must have it. @default a fresh ULID, or the store's own */
  readonly storeId?: string | undefined
  /**
   * Whether every acknowledged mutation survives a power cut. It costs one sync of the disk for each, shared by those
   * asked for at the same time: many callers at once are nearly as fast as without. Without it a mutation survives the
   * end of the process but not that of the machine, until `flush`. @default true
   */
  readonly durable?: boolean | undefined
  /**
   * Say so when the database is a classic-level that was opened with its `multithreading` option: backups and restores
   * then run in a worker thread. It must be true. @default false
   */
  readonly multithreading?: boolean | undefined
  /** The time in milliseconds since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined
}

const DEFAULT_PAGE_ENTRIES = 1000
const MAX_PAGE_ENTRIES = 10_000
const PAYLOAD_IDS_MODULE = new URL('./payload-ids-of-record.js', import.meta.url)

/**
 * A metadata store in any abstract-level database with explicit snapshots, whose only user it is.
 *
 * Mutations are done one after another, each in one atomic batch; reads never wait for them. What is given to a mutation must not
 * change until its promise settles. Times of inodes change when inodes are created and by `setAttributes` and `setContent`, not by
 * changes to directory entries.
 */
export class LevelMetadataStore implements MetadataStore {
  readonly kind: StoreKind
  readonly schemaVersion: number = records.SCHEMA_VERSION
  readonly storeId: string
  readonly #db: TextDatabase
  readonly #queue: CommitQueue
  readonly #backupable: Backupable
  readonly #clock: () => number

  /**
   * Opens the store in a database, and makes it one where the database is empty. The store closes the database.
   *
   * `schema_version_mismatch` when it was written by a newer release, `store_id_mismatch` when it is another store than
   * the one named, `store_not_drained` when another process has it open, `store_unavailable` when it cannot be read or holds something else.
   */
  static async open(db: LevelDatabase, options: LevelMetadataStoreOptions): Promise<LevelMetadataStore> {
    const text = new TextDatabase(db)
    await text.open()
    try {
      return new LevelMetadataStore(db, { ...options, storeId: await identifyStore(text, options.storeId) })
    } catch (error) {
      await text.close()
      throw error
    }
  }

  private constructor(db: LevelDatabase, options: LevelMetadataStoreOptions & { readonly storeId: string }) {
    const { kind, storeId, durable = true, clock = Date.now, multithreading } = options
    this.kind = kind
    this.storeId = storeId
    this.#db = new TextDatabase(db)
    this.#queue = new CommitQueue(this.#db, { sync: durable })
    this.#clock = clock
    const schemaVersion = this.schemaVersion
    this.#backupable = levelBackupable(db, {
      payloadIds: PAYLOAD_IDS_MODULE,
      sections: keys.SECTIONS,
      ownKeys: keys.STORE_KEYS,
      storeKind: kind,
      storeId,
      schemaVersion,
      encoding: 'text',
      multithreading,
    })
  }

  async backup(sink: SnapshotSink, options?: BackupOptions): Promise<PayloadIdSet> {
    return await this.#backupable.backup(sink, options)
  }

  async restore(source: SnapshotSource, options?: RestoreOptions): Promise<void> {
    await this.#queue.runAlone(() => this.#backupable.restore(source, options))
  }

  async createShare(
    name: string,
    { options = {}, root = {} }: { readonly options?: Readonly<Record<string, string>>; readonly root?: Partial<InodeAttributes> } = {},
  ): Promise<Share> {
    check.checkName(name, 'share name')
    check.checkShareOptions(options)
    check.checkAttributes(root)
    return await this.#queue.run((transaction) => tree.createShare(transaction, { name, createdAtMs: this.#now(), options, root }))
  }

  async share(name: string): Promise<Share | undefined> {
    return await tree.readShare(this.#db, check.checkName(name, 'share name'))
  }

  async shares(): Promise<readonly Share[]> {
    const shares: Share[] = []
    for await (const [key, value] of this.#db.range(keys.sectionRange('shares'))) {
      shares.push({ name: keys.textOfKey(key), ...decodeRecord(key, value, records.decodeShare) })
    }
    return shares
  }

  async removeShare(name: string): Promise<void> {
    check.checkName(name, 'share name')
    await this.#queue.run((transaction) => tree.removeShare(transaction, name))
  }

  async inode(inode: InodeNumber): Promise<Inode | undefined> {
    const record = await nodes.readInode(this.#db, check.checkInodeNumber(inode))
    return record === undefined ? undefined : nodes.inodeOf(inode, record)
  }

  async lookup(place: Place): Promise<Inode | undefined> {
    check.checkPlace(place)
    return await this.#db.view(async (view) => {
      const entry = await nodes.readEntry(view, place)
      return entry === undefined ? undefined : nodes.inodeOf(entry.inode, await nodes.inodeOfEntry(view, place, entry))
    })
  }

  async readDirectory(
    directory: InodeNumber,
    { after, limit = DEFAULT_PAGE_ENTRIES }: { readonly after?: string | undefined; readonly limit?: number | undefined } = {},
  ): Promise<DirectoryPage> {
    check.checkInodeNumber(directory)
    if (after !== undefined) check.checkName(after, 'cursor')
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE_ENTRIES) {
      throw new RangeError(`Cannot read ${limit} directory entries at a time: the limit is 1 to ${MAX_PAGE_ENTRIES}`)
    }
    return await this.#db.view(async (view) => {
      await nodes.requireDirectory(view, directory)
      const entries: DirectoryEntry[] = []
      for await (const [key, value] of view.range(keys.entriesOf(directory, after), { pageSize: limit + 1 })) {
        if (entries.length === limit) return { entries, cursor: entries.at(-1)?.name }
        entries.push({ name: keys.nameOfEntry(key), ...decodeRecord(key, value, records.decodeEntry) })
      }
      return { entries, cursor: undefined }
    })
  }

  blocks(inode: InodeNumber): AsyncIterable<Block> {
    check.checkInodeNumber(inode)
    return this.#db.viewEach(async function* (view) {
      await tree.requireFile(view, inode)
      yield* readBlocks(view, blocksOfInode(inode))
    })
  }

  async create(place: Place, inode: NewInode): Promise<Inode> {
    check.checkPlace(place)
    check.checkNewInode(inode)
    const willRead = [keys.inodeKey(place.parent), keys.entryKey(place), keys.NEXT_INODE_KEY, keys.USED_BYTES_KEY]
    return await this.#queue.run((transaction) => tree.createInode(transaction, place, { inode, nowMs: this.#now() }), willRead)
  }

  async link(place: Place, inode: InodeNumber): Promise<Inode> {
    check.checkPlace(place)
    check.checkInodeNumber(inode)
    return await this.#queue.run((transaction) => tree.linkInode(transaction, place, inode))
  }

  async unlink(place: Place): Promise<void> {
    check.checkPlace(place)
    await this.#queue.run((transaction) => tree.unlinkEntry(transaction, place))
  }

  async rename(from: Place, to: Place): Promise<void> {
    check.checkPlace(from)
    check.checkPlace(to)
    await this.#queue.run((transaction) => tree.renameEntry(transaction, from, to))
  }

  async setAttributes(inode: InodeNumber, changes: Partial<InodeAttributes>): Promise<Inode> {
    check.checkInodeNumber(inode)
    check.checkAttributes(changes)
    return await this.#queue.run((transaction) => tree.changeAttributes(transaction, inode, { changes, nowMs: this.#now() }), [keys.inodeKey(inode)])
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
    const change = (): tree.NewContent => ({ content, size, modifiedAtNs, nowMs: this.#now() })
    return await this.#queue.run((transaction) => tree.changeContent(transaction, inode, change()), [keys.inodeKey(inode), keys.USED_BYTES_KEY])
  }

  async putUpload(upload: PendingUpload): Promise<void> {
    check.checkUpload(upload)
    await this.#queue.run((transaction) => uploads.putUpload(transaction, upload))
  }

  uploads(): AsyncIterable<PendingUpload> {
    return this.#db.viewEach(uploads.readUploads)
  }

  async completeUpload(uploadId: string, attributes: Partial<InodeAttributes> = {}): Promise<Inode> {
    check.checkUploadId(uploadId)
    check.checkAttributes(attributes)
    return await this.#queue.run((transaction) => uploads.completeUpload(transaction, uploadId, { attributes, nowMs: this.#now() }))
  }

  async removeUpload(uploadId: string): Promise<void> {
    check.checkUploadId(uploadId)
    await this.#queue.run((transaction) => uploads.removeUpload(transaction, uploadId))
  }

  async lock(lock: ByteRangeLock): Promise<void> {
    check.checkLock(lock)
    await this.#queue.run((transaction) => uploads.takeLock(transaction, lock))
  }

  async unlock(range: Omit<ByteRangeLock, 'kind'>): Promise<void> {
    check.checkRange(range)
    await this.#queue.run((transaction) => uploads.giveBack(transaction, range))
  }

  async locks(inode: InodeNumber): Promise<readonly ByteRangeLock[]> {
    return await uploads.readLocks(this.#db, check.checkInodeNumber(inode))
  }

  async setting(name: string): Promise<string | undefined> {
    const key = keys.settingKey(check.checkSettingName(name))
    const value = await this.#db.get(key)
    return value === undefined ? undefined : decodeRecord(key, value, records.decodeText)
  }

  async setSetting(name: string, value: string | undefined): Promise<void> {
    const key = keys.settingKey(check.checkSettingName(name))
    const text = value === undefined ? undefined : records.encodeText(check.checkSettingValue(value))
    await this.#queue.run(async (transaction) => (text === undefined ? transaction.delete(key) : transaction.put(key, text)))
  }

  async settings(): Promise<ReadonlyMap<string, string>> {
    const settings = new Map<string, string>()
    for await (const [key, value] of this.#db.range(keys.sectionRange('settings'))) {
      settings.set(keys.textOfKey(key), decodeRecord(key, value, records.decodeText))
    }
    return settings
  }

  async usedBytes(): Promise<number> {
    return Number(await nodes.readUsedBytes(this.#db))
  }

  async *payloadIds(): AsyncGenerator<string, void, undefined> {
    let last: string | undefined
    for await (const [key, value] of this.#db.range(keys.sectionRange('references'))) {
      const payloadId = decodeRecord(key, value, () => keys.payloadIdOfReference(key))
      if (payloadId !== last) yield payloadId
      last = payloadId
    }
  }

  /** Makes every mutation acknowledged so far survive a power cut; only a store that is not `durable` needs it. */
  async flush(): Promise<void> {
    await this.#queue.runAlone(() => this.#db.write(new Map([[keys.STORE_ID_KEY, this.storeId]]), { sync: true }))
  }

  /** Waits for the mutations under way, then closes the database. */
  async close(): Promise<void> {
    await this.#queue.idle()
    await this.#db.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #now(): number {
    return this.#clock()
  }
}
