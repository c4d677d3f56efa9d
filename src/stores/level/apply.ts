/** Writes the records of a snapshot into an empty database. */
import type { RestoreOptions } from '../../backupable.ts'
import { CombinedError, DestinationNoSpaceError, RestoreCorruptError, StoreUnavailableError } from '../../errors.ts'
import { type DataFrame, type SnapshotReader, decodeRecords } from '../../snapshot/snapshot-reader.ts'
import { type KeyRange, type KeySpan, type Value, SpanCursor, compareKeys, dataRanges, nameOfKey } from './key-spans.ts'
import { isFullDisk } from './open-failure.ts'
import type { RecordBatch } from './record-batches.ts'
import type { LevelDatabase } from './text-database.ts'

export interface ApplyOptions {
  readonly newBatch: () => RecordBatch
  readonly spans: readonly KeySpan[]
  /** Called between frames: a chance to yield, or to end by throwing. */
  readonly checkpoint: () => Promise<void> | void
  readonly onProgress?: RestoreOptions['onProgress']
}

/** Whether a database holds no data; the store's own records do not count. */
export async function isEmpty(db: LevelDatabase, ownKeys: KeyRange | undefined): Promise<boolean> {
  for (const range of dataRanges(ownKeys)) {
    const found = await reading(db.keys({ ...bounds(range), keyEncoding: 'buffer', limit: 1 } as object).all())
    if (found.length > 0) return false
  }
  return true
}

/** Runs `fill`; when it fails, empties the database of all but the store's own records before it rejects. */
export async function fillOrEmpty(db: LevelDatabase, ownKeys: KeyRange | undefined, fill: () => Promise<void>): Promise<void> {
  try {
    await fill()
  } catch (error) {
    try {
      for (const range of dataRanges(ownKeys)) await writing(() => db.clear({ ...bounds(range), keyEncoding: 'buffer' } as object))
    } catch (failure) {
      throw new CombinedError(`${messageOf(error)}; and the store cannot be emptied again: ${messageOf(failure)}`, [error, failure])
    }
    throw error
  }
}

/**
 * Writes all records in sorted batches, each while the next is decoded. Rejects with `restore_corrupt` for a key that is not
 * in its section or not greater than the one before. What was written then stays; it is for the caller to remove.
 */
export async function applySnapshot(reader: SnapshotReader, options: ApplyOptions): Promise<void> {
  const { spans, checkpoint, onProgress } = options
  const checker = new KeyChecker(spans)
  const batches = new BatchRotation(options.newBatch)
  let records = 0
  let bytes = 0
  try {
    for await (const frame of reader.frames()) {
      const batch = batches.spare()
      for (const [key, value] of decodeRecords(frame)) {
        checker.check(key, frame)
        batch.put(key, value)
      }
      await batches.add(batch)
      records += frame.records
      bytes += frame.data.byteLength
      onProgress?.({ bytes, records })
      await checkpoint()
    }
    await batches.end()
  } finally {
    await batches.close()
  }
}

/** Writes batches one after another, while the caller fills the next, and the last of them with `sync`. */
class BatchRotation {
  readonly #newBatch: () => RecordBatch
  readonly #all: RecordBatch[] = []
  readonly #spare: RecordBatch[] = []
  /** The newest is held back, for it may be the last. */
  #held: RecordBatch | undefined
  #written: Promise<void> = Promise.resolve()

  constructor(newBatch: () => RecordBatch) {
    this.#newBatch = newBatch
  }

  /** A batch to fill; give it back with `add`. */
  spare(): RecordBatch {
    const spare = this.#spare.pop()
    if (spare !== undefined) return spare
    const batch = this.#newBatch()
    this.#all.push(batch)
    return batch
  }

  /** Takes a filled batch; resolves when the next may be filled. */
  async add(batch: RecordBatch): Promise<void> {
    await this.#written
    if (this.#held !== undefined) {
      this.#written = this.#write(this.#held)
      // Seen by the next call, or by `close`.
      this.#written.catch(() => undefined)
    }
    this.#held = batch
  }

  async end(): Promise<void> {
    await this.#written
    if (this.#held !== undefined) await writing(() => this.#held?.write({ sync: true }))
  }

  /** Waits for what is being written. */
  async close(): Promise<void> {
    await Promise.allSettled([this.#written])
    await Promise.all(this.#all.map((batch) => batch.close()))
  }

  async #write(batch: RecordBatch): Promise<void> {
    await writing(() => batch.write({ sync: false }))
    this.#spare.push(batch)
  }
}

/** Checks that keys come in strictly ascending order, each in the section of its frame. */
class KeyChecker {
  readonly #cursor: SpanCursor
  #last: Value | undefined

  constructor(spans: readonly KeySpan[]) {
    this.#cursor = new SpanCursor(spans)
  }

  check(key: Value, frame: DataFrame): void {
    if (this.#last !== undefined && compareKeys(this.#last, key) >= 0) {
      throw corrupt(frame, `key ${JSON.stringify(nameOfKey(key))} is not greater than the one before it`)
    }
    if (this.#cursor.of(key).section !== frame.section) {
      throw corrupt(frame, `key ${JSON.stringify(nameOfKey(key))} does not belong to its section`)
    }
    this.#last = key
  }
}

function corrupt(frame: DataFrame, fault: string): RestoreCorruptError {
  return new RestoreCorruptError(`Cannot restore frame ${frame.sequence}: ${fault}`, { offset: frame.offset, frame: frame.sequence })
}

function bounds({ gte, lt }: KeyRange): { gte?: Uint8Array; lt?: Uint8Array } {
  return { ...(gte === undefined ? {} : { gte: asBytes(gte) }), ...(lt === undefined ? {} : { lt: asBytes(lt) }) }
}

function asBytes(key: Value): Uint8Array {
  return typeof key === 'string' ? Buffer.from(key) : key
}

async function reading<T>(result: Promise<T>): Promise<T> {
  try {
    return await result
  } catch (error) {
    throw new StoreUnavailableError(`Cannot read the store: ${messageOf(error)}`, { cause: error })
  }
}

async function writing(write: () => Promise<void> | undefined): Promise<void> {
  try {
    await write()
  } catch (error) {
    const message = `Cannot write to the store: ${messageOf(error)}`
    if (isFullDisk(message)) throw new DestinationNoSpaceError(message, { cause: error })
    throw new StoreUnavailableError(message, { cause: error })
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
