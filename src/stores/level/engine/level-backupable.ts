/** Backs up and restores any abstract-level database: memory-level, classic-level, or another with snapshots. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Backupable, SnapshotProgress, StoreKind } from '../../../contracts/backupable.ts'
import { checkedBackupable } from '../../../contracts/checked-calls.ts'
import { BackupUnsupportedError, RestoreDestinationNotEmptyError, StoreUnavailableError } from '../../../errors/errors.ts'
import { CLOSED_HINT } from '../../../errors/system-codes.ts'
import { BOOLEAN, FUNCTION, type Kind, NUMBER, OBJECT, type OptionKinds, STRING, SYNC_FUNCTION, checkArgument, checkOptions, listOf, oneOf, optional } from '../../../util/check-options.ts'
import { writeUnlessFailed } from '../../../util/failed-writes.ts'
import { Interrupt } from '../../../util/interrupt.ts'
import { isClosed } from '../../../util/level-errors.ts'
import { listener } from '../../../util/listener.ts'
import { throttle } from '../../worker/rate-limit.ts'
import { fillOrEmpty, isEmpty, refuseAfterFailedWrite, removeData } from './fill-database.ts'
import { type KeyRange, type Section, type StoreDescription, type Value, keySpans } from './key-spans.ts'
import type { PayloadIdCounter } from './payload-id-counter.ts'
import { loadPayloadIds, payloadIdFunctions } from './payload-ids-module.ts'
import { arrayBatches } from './write-batches.ts'
import { readSnapshot } from './read-snapshot.ts'
import type { RecordEncoding } from './database-view.ts'
import type { PayloadIdExtractor } from './scan.ts'
import { LEVEL_DATABASE, type LevelDatabase, storesText } from './text-database.ts'
import { restoreInWorker, snapshotInWorker } from './workers.ts'
import { writeSnapshot } from './write-snapshot.ts'

export type { KeyRange, PayloadIdCounter, PayloadIdExtractor, Section }

/** `Key` and `Stored` are what keys and values are as stored: `string`, or `Uint8Array` in a database whose encodings are bytes. */
export interface LevelBackupableOptions<Key extends Value = string, Stored extends Value = string> {
  /**
   * Returns the payload IDs that a record refers to: a function of key, value and section name, or the URL of a module that exports such
   * a function as `payloadIds`. Only a module can run in a worker thread.
   *
   * The function gets every record as stored (text or bytes) and returns strings of 1 to 255 printable ASCII characters, without spaces; it
   * is not async. An error that it throws fails the backup with `record_invalid`.
   */
  readonly payloadIds: PayloadIdExtractor<Key, Stored> | URL
  /**
   * Makes a counter for each backup, which counts payload IDs independently from the same records.
   * The backup fails with `store_inconsistent` when the counter and `payloadIds` differ.
   * With a module as `payloadIds`, the module exports `countPayloadIds`. @default no check
   */
  readonly countPayloadIds?: (() => PayloadIdCounter<Key, Stored>) | undefined
  /** Kinds of records, as ascending ranges of keys. A key outside all of them fails a backup. @default one, "entries", of all keys */
  readonly sections?: readonly Section[] | undefined
  /** Keys of the store itself, such as its ID. A snapshot leaves them out, a restore keeps them, and they do not count as data. */
  readonly ownKeys?: KeyRange | undefined
  /**
   * A name for what the database is, such as that of your server. Commands then do not take its backups for those of metadata stores.
   * @default "memory" for a database that does not outlive its process, otherwise "level"
   */
  readonly storeKind?: StoreKind | undefined
  /** Kinds of stores whose snapshots can be restored here. @default "memory" and "level" for these two, otherwise the store's own */
  readonly accepts?: readonly StoreKind[] | undefined
  /** The store's ID in a snapshot, one for each database. @default "default" */
  readonly storeId?: string | undefined
  /** The version of keys and values. A snapshot of another version is refused. @default 1 */
  readonly schemaVersion?: number | undefined
  /** Where a set of payload IDs goes that outgrows its memory. @default the system's temporary directory */
  readonly spillDirectory?: string | undefined
  /**
   * Estimates the bytes of all records, for the total of a snapshot's progress; its default if it fails. @default of a classic-level, by
   * how much of its files was read; of a database in memory, by its number of records; of others, such as a sublevel, it is not known
   */
  readonly estimateBytes?: (() => number | Promise<number>) | undefined
  /** How keys and values are read. Text is several times as fast; invalid UTF-8 then fails a backup. @default as the database encodes */
  readonly encoding?: 'text' | 'bytes' | undefined
  /**
   * Set this when the database is a classic-level opened with its `multithreading` option: snapshots (with a module as `payloadIds`) and
   * restores then run in a worker thread.
   *
   * It must not be set otherwise: LevelDB gives up its lock against other processes when a worker opens a database that was opened without.
   * @default false
   */
  readonly multithreading?: boolean | undefined
}

const EXTRACTOR: Kind = { what: 'a function that is not async, or the URL of a module', fits: (value) => value instanceof URL || SYNC_FUNCTION.fits(value) }
const SECTION: Kind = { what: 'a section with a name', fits: (value) => OBJECT.fits(value) && STRING.fits((value as Partial<Section>).name) }
const OPTIONS: OptionKinds<LevelBackupableOptions<never, never>> = {
  payloadIds: EXTRACTOR,
  countPayloadIds: optional(SYNC_FUNCTION),
  sections: optional(listOf(SECTION, 'sections')),
  ownKeys: optional(OBJECT),
  storeKind: optional(STRING),
  accepts: optional(listOf(STRING, 'strings')),
  storeId: optional(STRING),
  schemaVersion: optional(NUMBER),
  spillDirectory: optional(STRING),
  encoding: optional(oneOf(['text', 'bytes'])),
  multithreading: optional(BOOLEAN),
  estimateBytes: optional(FUNCTION),
}

/**
 * Makes a database a `Backupable`. The caller keeps the database open while a backup or a restore runs; closing it ends them with
 * `store_unavailable`.
 *
 * A restore that ends by a failed write, or in a worker thread, closes and opens the database before it empties it again: sublevels of it
 * must be opened again then.
 *
 * LevelDB syncs only the last batch of a restore: the rest is durable after the database is closed and its files are synced.
 *
 * A record, key and value together, has at most 16,777,152 bytes: `backup` rejects with `backup_unsupported` for a larger one, by its key.
 *
 * Throws `TypeError` for options that are missing, unknown or of the wrong type, for a database of an older abstract-level, and for
 * `countPayloadIds` with a module; `RangeError` for sections that are not ascending ranges. `backup` rejects with `invalid_argument` when
 * `payloadIds` returns anything but payload IDs: strings of 1 to 255 printable ASCII characters, without spaces. `backup` and `restore`
 * reject with `backup_unsupported` for a database without snapshots.
 */
export function levelBackupable<Key extends Value = string, Stored extends Value = string>(
  db: LevelDatabase,
  options: LevelBackupableOptions<Key, Stored>,
): Backupable {
  checkArgument('levelBackupable', db, { name: 'db', kind: LEVEL_DATABASE })
  checkOptions('levelBackupable', options, OPTIONS)
  const { payloadIds, countPayloadIds, sections = DEFAULT_SECTIONS, ownKeys, storeId = 'default', schemaVersion = 1 } = options
  const { spillDirectory, estimateBytes, multithreading = false } = options
  if (payloadIds instanceof URL && countPayloadIds !== undefined) throw new TypeError('With a module as payloadIds, the module must export countPayloadIds')
  const { storeKind = db.supports.permanence ? 'level' : 'memory' } = options
  const { accepts = SAME_RECORDS.includes(storeKind) ? SAME_RECORDS : [storeKind] } = options
  keySpans(sections, ownKeys)
  const store: StoreDescription = { sections: sections.map(({ name, gte, lt }) => ({ name, gte, lt })), ownKeys, storeKind, storeId, schemaVersion, accepts }
  const encoding = encodingOf(db, options.encoding)
  const estimate = async (): Promise<number | undefined> => {
    try {
      return await estimateBytes?.()
    } catch {
      // The backup itself does not need it.
      return undefined
    }
  }
  return checkedBackupable({
    kind: storeKind,
    storeId,

    backup: (sink, { backupId, compress, signal, onProgress, maxBytesPerSecond } = {}) =>
      Interrupt.during(signal, async (interrupt) => {
        await requireUsable(db)
        const target = throttle(sink, { interrupt, maxBytesPerSecond })
        const estimated = onProgress && (await estimate())
        const totalOf = ({ bytes, totalBytes }: SnapshotProgress): number | undefined => (estimated === undefined ? totalBytes : Math.max(estimated, bytes))
        const tell = listener(onProgress && ((progress: SnapshotProgress): void => onProgress({ ...progress, totalBytes: totalOf(progress) })))
        const request = { ...store, backupId, compress, encoding, spillDirectory }
        if (multithreading && payloadIds instanceof URL) {
          return await snapshotInWorker(db, target, { ...request, payloadIdsModule: payloadIds.href }, { interrupt, onProgress: tell })
        }
        const { payloadIdsOf, newCounter } = payloadIds instanceof URL ? await loadPayloadIds(payloadIds.href) : payloadIdFunctions(payloadIds, countPayloadIds)
        const counter = newCounter?.(request)
        return await writeSnapshot(db, target, { ...request, payloadIdsOf, counter, checkpoint: () => yieldTo(interrupt), onProgress: tell })
      }),

    restore: (source, { signal, onProgress } = {}) =>
      Interrupt.during(signal, async (interrupt) => {
        await requireUsable(db)
        if (!(await isEmpty(db, ownKeys))) throw new RestoreDestinationNotEmptyError()
        await refuseAfterFailedWrite(db)
        const bytes = interrupt.items(source)
        const tell = listener(onProgress)
        const fill = async (): Promise<void> => {
          interrupt.check()
          // A write of the worker may fail unseen, as when a signal aborts at the same time: any failure counts as one of this database.
          if (multithreading) await writeUnlessFailed(db, () => restoreInWorker(db, bytes, store, { interrupt, onProgress: tell }))
          else await readSnapshot(bytes, { ...store, newBatch: arrayBatches(db), checkpoint: () => yieldTo(interrupt), onProgress: tell })
        }
        await fillOrEmpty(db, fill, () => removeData(db, ownKeys))
      }),
  })
}

const DEFAULT_SECTIONS: readonly Section[] = [{ name: 'entries' }]
const SAME_RECORDS: readonly StoreKind[] = ['memory', 'level']

async function requireUsable(db: LevelDatabase): Promise<void> {
  if (!db.supports.explicitSnapshots && !db.supports.implicitSnapshots) {
    throw new BackupUnsupportedError('Cannot back up the database: it does not support snapshots')
  }
  try {
    await db.open({ passive: true })
  } catch (cause) {
    throw new StoreUnavailableError('Cannot use the store: its database is not open', { cause, hint: isClosed(cause) ? CLOSED_HINT : undefined })
  }
}

/** Gives way to the server's own work, once per batch. */
async function yieldTo(interrupt: Interrupt): Promise<void> {
  await nextTurn()
  interrupt.check()
}

/** Chooses text where the encodings of the database are text. */
function encodingOf(db: LevelDatabase, encoding: 'text' | 'bytes' | undefined): RecordEncoding {
  if (encoding === 'bytes' && storesText(db)) throw new TypeError('Cannot call levelBackupable(): "encoding" must be "text" for a database that stores text')
  if (encoding !== undefined) return { textKeys: encoding === 'text', textValues: encoding === 'text' }
  return { textKeys: storesText(db) || isText(db.keyEncoding().commonName), textValues: storesText(db) || isText(db.valueEncoding().commonName) }
}

function isText(encoding: string): boolean {
  return encoding === 'utf8' || encoding === 'json'
}
