/** Writes the records of a snapshot into an empty database. */
import type { RestoreOptions } from '../../backupable.ts'
import { CombinedError, DestinationNoSpaceError, RestoreCorruptError, StoreUnavailableError } from '../../errors.ts'
import { type DataFrame, type SnapshotReader, decodeRecords } from '../../snapshot/snapshot-reader.ts'
import { type KeyRange, type KeySpan, type Value, SpanCursor, compareKeys, dataRanges, nameOfKey } from './key-spans.ts'
import type { LevelDatabase } from './text-database.ts'

export interface ApplyOptions {
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
      for (const range of dataRanges(ownKeys)) await writing(db.clear({ ...bounds(range), keyEncoding: 'buffer' } as object))
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
export async function applySnapshot(db: LevelDatabase, reader: SnapshotReader, options: ApplyOptions): Promise<void> {
  const batches = new BatchMaker(db, options.spans)
  let records = 0
  let bytes = 0
  // The newest batch is held back, so that the very last can be written with `sync`.
  let held: Operation[] = []
  let written: Promise<void> = Promise.resolve()
  try {
    for await (const frame of reader.frames()) {
      const batch = batches.of(frame)
      await written
      written = writing(db.batch(held))
      // Seen at the next turn, or when the loop is left.
      written.catch(() => undefined)
      held = batch
      records += frame.records
      bytes += frame.data.byteLength
      options.onProgress?.({ bytes, records })
      await options.checkpoint()
    }
    await written
    await writing(db.batch(held, { sync: true } as object))
  } finally {
    await Promise.allSettled([written])
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

interface Operation {
  readonly type: 'put'
  readonly key: Value
  readonly value: Value
  readonly keyEncoding: Encoding
  readonly valueEncoding: Encoding
}

type Encoding = ReturnType<LevelDatabase['keyEncoding']>

/**
 * Makes batches of frames. They are arrays: the memory of LevelDB's chained batches is given back when V8 gets to
 * collecting them, and as it knows nothing of their size, that is too late.
 */
class BatchMaker {
  readonly #checker: KeyChecker
  readonly #textKeys: Encoding
  readonly #textValues: Encoding
  readonly #byteKeys: Encoding
  readonly #byteValues: Encoding

  constructor(db: LevelDatabase, spans: readonly KeySpan[]) {
    this.#checker = new KeyChecker(spans)
    // Not by name: every operation then has the same shape from the start, which makes abstract-level's copies several times as fast.
    this.#textKeys = db.keyEncoding('utf8')
    this.#textValues = db.valueEncoding('utf8')
    this.#byteKeys = db.keyEncoding('view')
    this.#byteValues = db.valueEncoding('view')
  }

  of(frame: DataFrame): Operation[] {
    return decodeRecords(frame).map(([key, value]) => {
      this.#checker.check(key, frame)
      return {
        type: 'put',
        key: kept(key),
        value: kept(value),
        keyEncoding: typeof key === 'string' ? this.#textKeys : this.#byteKeys,
        valueEncoding: typeof value === 'string' ? this.#textValues : this.#byteValues,
      }
    })
  }
}

/** Bytes are views of the stream, which a database in memory must not keep. */
function kept(value: Value): Value {
  return typeof value === 'string' ? value : Buffer.from(value)
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

/** LevelDB tells a full disk by its message only. */
async function writing(result: Promise<void>): Promise<void> {
  try {
    await result
  } catch (error) {
    const message = `Cannot write to the store: ${messageOf(error)}`
    if (/No space left on device|Disk quota exceeded/i.test(message)) throw new DestinationNoSpaceError(message, { cause: error })
    throw new StoreUnavailableError(message, { cause: error })
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
