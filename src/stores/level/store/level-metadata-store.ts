import { undoOnError } from '../../../errors/clean-up.ts'
import type { BackupOptions, Backupable, RestoreOptions, SnapshotSink, SnapshotSource, StoreKind } from '../../../contracts/backupable.ts'
import type { ImportOptions, MetadataView } from '../../../contracts/metadata-store.ts'
import { BOOLEAN, type OptionKinds, STRING, CLOCK, checkArgument, checkOptions, optional } from '../../../util/check-options.ts'
import { listener } from '../../../util/listener.ts'
import type { TreeTransaction } from '../../../metadata/tree-transaction.ts'
import { checkImport } from '../../../metadata/validate.ts'
import { type WillRead, ValidatedStore } from '../../../metadata/validated-store.ts'
import type { PayloadIdSet } from '../../../payload-ids/payload-id-set.ts'
import { CommitQueue } from './commit-queue.ts'
import { importView, undoUnfinishedImport } from './import-view.ts'
import * as keys from './keys.ts'
import { refuseAfterFailedWrite } from '../engine/fill-database.ts'
import { levelBackupable } from '../engine/level-backupable.ts'
import { LevelMetadataReader } from './level-metadata-reader.ts'
import { LevelMetadataView } from './level-metadata-view.ts'
import { LevelTree } from './level-tree.ts'
import * as records from './records.ts'
import { identifyStore } from './store-identity.ts'
import { LEVEL_DATABASE, type LevelDatabase, TextDatabase } from '../engine/text-database.ts'

export interface LevelMetadataStoreOptions {
  /** `memory` for memory-level, `level` for classic-level. */
  readonly kind: StoreKind
  /**
   * The ID of a new store, 1 to 64 printable ASCII characters; an existing store must have it. @default a fresh ULID, or the store's own
   */
  readonly storeId?: string | undefined
  /**
   * Whether every acknowledged mutation survives a power cut. Each then costs a sync of the disk, which callers at the same time share:
   * many callers at once are nearly as fast as without.
   *
   * Otherwise a mutation survives the end of the process, but the end of the machine only after `flush`. @default true
   */
  readonly durable?: boolean | undefined
  /**
   * Set this for a classic-level opened with its `multithreading` option: backups and restores then run in a worker thread.
   * It must not be set otherwise. @default false
   */
  readonly multithreading?: boolean | undefined
  /** The time in milliseconds since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined
}

const OPTIONS: OptionKinds<LevelMetadataStoreOptions> = {
  kind: STRING,
  storeId: optional(STRING),
  durable: optional(BOOLEAN),
  multithreading: optional(BOOLEAN),
  clock: optional(CLOCK),
}

const PAYLOAD_IDS_MODULE = new URL('./payload-ids-of-record.js', import.meta.url)

/**
 * A metadata store in any abstract-level database with explicit snapshots. The store must be the only user of the database.
 *
 * Mutations run one after another, each in one atomic batch. Reads do not wait for them.
 * Arguments of a mutation must not change until its promise settles.
 * After a failed write, all are refused with `store_unavailable` until the database was closed and opened again: see `failed-writes.ts`.
 * `create`, `setAttributes` and `setContent` set the times of inodes; changes to directory entries do not.
 */
export class LevelMetadataStore extends ValidatedStore {
  readonly kind: StoreKind
  readonly schemaVersion: number = records.SCHEMA_VERSION
  readonly storeId: string
  readonly isAlone = true
  readonly #level: LevelDatabase
  readonly #db: TextDatabase
  readonly #durable: boolean
  readonly #queue: CommitQueue
  readonly #backupable: Backupable

  /**
   * Opens the store in a database, or makes one in an empty database. The store closes the database.
   * Leftovers of an interrupted import are removed.
   *
   * Rejects with `schema_version_mismatch` when a newer release wrote the store, `store_id_mismatch` when it is another store,
   * `store_not_drained` when another process has the database open, `store_unavailable` when it cannot be read or has other records in it.
   */
  static async open(db: LevelDatabase, options: LevelMetadataStoreOptions): Promise<LevelMetadataStore> {
    checkArgument('LevelMetadataStore.open', db, { name: 'db', kind: LEVEL_DATABASE })
    checkOptions('LevelMetadataStore.open', options, OPTIONS)
    const text = new TextDatabase(db)
    await text.open()
    return await undoOnError(async () => {
      const storeId = await identifyStore(text, options.storeId)
      await undoUnfinishedImport(db)
      return new LevelMetadataStore(db, { ...options, storeId })
    }, () => text.close())
  }

  private constructor(db: LevelDatabase, options: LevelMetadataStoreOptions & { readonly storeId: string }) {
    const { kind, storeId, durable = true, clock, multithreading } = options
    const text = new TextDatabase(db)
    super(new LevelMetadataReader(text), clock)
    this.kind = kind
    this.storeId = storeId
    this.#level = db
    this.#db = text
    this.#durable = durable
    this.#queue = new CommitQueue(this.#db, { sync: durable })
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

  async view(): Promise<MetadataView> {
    return new LevelMetadataView(this.#db.snapshot())
  }

  /**
   * After a failed write rejects with `store_unavailable`: that may turn out to have been made, and refer to payloads that a sweep finds
   * unneeded.
   */
  override async *payloadIds(): AsyncGenerator<string, void, undefined> {
    await refuseAfterFailedWrite(this.#level)
    yield* super.payloadIds()
  }

  async importView(view: MetadataView, options: ImportOptions = {}): Promise<void> {
    checkImport(view, options)
    await this.#queue.runAlone(() => importView(this.#level, view, { ...options, onProgress: listener(options.onProgress), durable: this.#durable }))
  }

  /** Makes all acknowledged mutations survive a power cut. Only a store that is not `durable` needs this. */
  async flush(): Promise<void> {
    await this.#queue.runAlone(() => this.#db.write(new Map([[keys.STORE_ID_KEY, this.storeId]]), { sync: true }))
  }

  /** Waits for the mutations under way, then closes the database. */
  async close(): Promise<void> {
    await this.#queue.idle()
    await this.#db.close()
  }

  protected override async change<T>(work: (transaction: TreeTransaction) => Promise<T>, willRead: WillRead): Promise<T> {
    return await this.#queue.run((transaction) => work(new LevelTree(transaction)), keysOf(willRead))
  }
}

/** The records that a mutation reads first, and the counters that many of them read. */
function keysOf({ places = [], inodes = [] }: WillRead): readonly string[] {
  const parents = places.map(({ parent }) => parent)
  return [...[...parents, ...inodes].map(keys.inodeKey), ...places.map(keys.entryKey), keys.NEXT_INODE_KEY, keys.USED_BYTES_KEY]
}
