/** Backs up and restores any abstract-level database: memory-level, classic-level, or another with snapshots. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { BackupOptions, Backupable, RestoreOptions, SnapshotSink, SnapshotSource, StoreKind } from '../../../contracts/backupable.ts'
import { BackupUnsupportedError, RestoreDestinationNotEmptyError, StoreUnavailableError } from '../../../errors/errors.ts'
import type { PayloadIdSet } from '../../../payload-ids/payload-id-set.ts'
import { Interrupt } from '../../../util/interrupt.ts'
import { throttle } from '../../worker/rate-limit.ts'
import { fillOrEmpty, isEmpty, removeData } from './fill-database.ts'
import { type KeyRange, type Section, keySpans } from './key-spans.ts'
import type { PayloadIdCounter } from './payload-id-counter.ts'
import { type PayloadIdFunctions, loadPayloadIds, payloadIdFunctions } from './payload-ids-module.ts'
import { arrayBatches } from './write-batches.ts'
import { readSnapshot } from './read-snapshot.ts'
import type { PayloadIdExtractor, RecordEncoding } from './scan.ts'
import type { LevelDatabase } from './text-database.ts'
import { restoreInWorker, snapshotInWorker } from './workers.ts'
import { writeSnapshot } from './write-snapshot.ts'

export type { KeyRange, PayloadIdCounter, PayloadIdExtractor, Section }

export interface LevelBackupableOptions {
  /**
   * Which payload IDs a record refers to: a function of its key, its value and its section's name, or the URL of a module that exports
   * such a function as `payloadIds`. It is called for every record with what is stored (text, or bytes); what it throws fails the
   * backup with `record_invalid`. Only a module can be called in a worker thread.
   */
  readonly payloadIds: PayloadIdExtractor | URL
  /**
   * Makes what counts payload IDs by another way, from the same records of the same snapshot; called for each backup, which fails with
   * `store_inconsistent` when it comes to another number than `payloadIds` gave. A module has it as an export of this name instead.
   * @default nothing is counted: that the IDs are all there are is for `payloadIds` to see to
   */
  readonly countPayloadIds?: (() => PayloadIdCounter) | undefined
  /** Kinds of records, as ranges of keys in ascending order. A key in none of them fails a backup. @default one, "entries", of all keys */
  readonly sections?: readonly Section[] | undefined
  /** Keys that belong to the store itself, such as its ID: not in a snapshot, kept by a restore, and not counted as data. */
  readonly ownKeys?: KeyRange | undefined
  /** @default "memory" for a database that does not outlive its process, otherwise "level" */
  readonly storeKind?: StoreKind | undefined
  /** Kinds of stores whose snapshots can be restored here. @default "memory" and "level" for these two, otherwise the store's own */
  readonly accepts?: readonly StoreKind[] | undefined
  /** What a snapshot says it was taken from. @default "default" */
  readonly storeId?: string | undefined
  /** The version of what keys and values mean; a snapshot of another one is refused. @default 1 */
  readonly schemaVersion?: number | undefined
  /** Where a set of payload IDs that outgrows its memory goes while it is used. @default the system's directory for temporary files */
  readonly spillDirectory?: string | undefined
  /** How keys and values are read. Text is several times as fast; text that is not valid UTF-8 fails a backup. @default by the encodings of the database */
  readonly encoding?: 'text' | 'bytes' | undefined
  /**
   * Say so when the database is a classic-level that was opened with its `multithreading` option: snapshots (given the URL of a module
   * as `payloadIds`) and restores then run in a worker thread. It must be true: LevelDB gives up its lock against other
   * processes when a worker tries to open a database that was opened without.
   * @default false
   */
  readonly multithreading?: boolean | undefined
}

/**
 * Makes a database a `Backupable`. The database stays the caller's: it must be open for as long as a backup or a restore
 * runs; closing it ends them with `store_unavailable`. What a restore wrote is durable once the database was closed and its
 * files were synced; LevelDB itself syncs the last batch only.
 *
 * Throws `RangeError` for sections that are not ascending ranges, `TypeError` for a counter beside a module. `backup` and `restore` reject with `backup_unsupported` for
 * a database without snapshots.
 */
export function levelBackupable(db: LevelDatabase, options: LevelBackupableOptions): Backupable {
  return new LevelBackupable(db, options)
}

const DEFAULT_SECTIONS: readonly Section[] = [{ name: 'entries' }]
const SAME_RECORDS: readonly StoreKind[] = ['memory', 'level']

class LevelBackupable implements Backupable {
  readonly kind: StoreKind
  readonly #db: LevelDatabase
  readonly #payloadIds: PayloadIdFunctions | URL
  readonly #multithreading: boolean
  readonly #encoding: RecordEncoding
  readonly #spillDirectory: string | undefined
  readonly #store: {
    readonly sections: readonly Section[]
    readonly ownKeys: KeyRange | undefined
    readonly storeKind: StoreKind
    readonly storeId: string
    readonly schemaVersion: number
    readonly accepts: readonly StoreKind[]
  }

  constructor(db: LevelDatabase, options: LevelBackupableOptions) {
    const { payloadIds, countPayloadIds } = options
    if (payloadIds instanceof URL && countPayloadIds !== undefined) throw new TypeError('countPayloadIds is an export of the module that payloadIds names')
    const { sections = DEFAULT_SECTIONS, ownKeys, storeId = 'default', schemaVersion = 1, multithreading = false } = options
    const { storeKind = db.supports.permanence ? 'level' : 'memory' } = options
    const { accepts = SAME_RECORDS.includes(storeKind) ? SAME_RECORDS : [storeKind] } = options
    keySpans(sections, ownKeys)
    this.kind = storeKind
    this.#db = db
    this.#payloadIds = payloadIds instanceof URL ? payloadIds : payloadIdFunctions(payloadIds, countPayloadIds)
    this.#multithreading = multithreading
    this.#encoding = encodingOf(db, options.encoding)
    this.#spillDirectory = options.spillDirectory
    this.#store = { sections: sections.map(({ name, gte, lt }) => ({ name, gte, lt })), ownKeys, storeKind, storeId, schemaVersion, accepts }
  }

  async backup(sink: SnapshotSink, { backupId, compress, signal, onProgress, maxBytesPerSecond }: BackupOptions = {}): Promise<PayloadIdSet> {
    const interrupt = new Interrupt()
    const release = interrupt.follow(signal)
    try {
      interrupt.check()
      await this.#ready()
      const target = throttle(sink, { interrupt, maxBytesPerSecond })
      const options = { ...this.#store, backupId, compress, encoding: this.#encoding, spillDirectory: this.#spillDirectory, interrupt, onProgress }
      const payloadIds = this.#payloadIds
      if (this.#multithreading && payloadIds instanceof URL) {
        return await snapshotInWorker(this.#db, target, { ...options, payloadIdsModule: payloadIds.href })
      }
      const { payloadIdsOf, newCounter } = payloadIds instanceof URL ? await loadPayloadIds(payloadIds.href) : payloadIds
      return await writeSnapshot(this.#db, target, { ...options, payloadIdsOf, counter: newCounter?.(), checkpoint: () => yieldTo(interrupt) })
    } finally {
      release()
    }
  }

  async restore(source: SnapshotSource, { signal, onProgress }: RestoreOptions = {}): Promise<void> {
    const interrupt = new Interrupt()
    const release = interrupt.follow(signal)
    try {
      interrupt.check()
      await this.#ready()
      const { ownKeys } = this.#store
      if (!(await isEmpty(this.#db, ownKeys))) throw new RestoreDestinationNotEmptyError()
      const bytes = interrupt.items(source)
      const options = { ...this.#store, interrupt, onProgress }
      const fill = async (): Promise<void> => {
        interrupt.check()
        if (this.#multithreading) await restoreInWorker(this.#db, bytes, options)
        else await readSnapshot(bytes, { ...options, newBatch: arrayBatches(this.#db), checkpoint: () => yieldTo(interrupt) })
      }
      await fillOrEmpty(fill, () => removeData(this.#db, ownKeys))
    } finally {
      release()
    }
  }

  async #ready(): Promise<void> {
    const { explicitSnapshots, implicitSnapshots } = this.#db.supports
    if (!explicitSnapshots && !implicitSnapshots) {
      throw new BackupUnsupportedError('Cannot snapshot a database that has neither explicit nor implicit snapshots')
    }
    try {
      await this.#db.open({ passive: true })
    } catch (cause) {
      throw new StoreUnavailableError('Cannot use the store: its database is not open', { cause })
    }
  }
}

/** Lets the server's own work go first, once per batch. */
async function yieldTo(interrupt: Interrupt): Promise<void> {
  await nextTurn()
  interrupt.check()
}

/** Text where the database's own encodings are text: what they store is what they read. */
function encodingOf(db: LevelDatabase, encoding: LevelBackupableOptions['encoding']): RecordEncoding {
  if (encoding !== undefined) return { textKeys: encoding === 'text', textValues: encoding === 'text' }
  return { textKeys: isText(db.keyEncoding().commonName), textValues: isText(db.valueEncoding().commonName) }
}

function isText(encoding: string): boolean {
  return encoding === 'utf8' || encoding === 'json'
}
