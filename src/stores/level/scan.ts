/** Reads a whole database in key order, from one view, and cuts it into frames of records. */
import { isUtf8 } from 'node:buffer'
import { RecordInvalidError, StoreUnavailableError } from '../../errors.ts'
import { MAX_STORED_BYTES } from '../../snapshot/frame.ts'
import { type KeySpan, type Value, FOREIGN_SPAN, OWN_SPAN, SpanCursor, isBefore, nameOfKey } from './key-spans.ts'
import type { LevelDatabase } from './text-database.ts'

export type StoredRecord = readonly [Value, Value]

/** The payload IDs that a record refers to; may throw when the record cannot be decoded. `section` is the name of the record's section. */
export type PayloadIdExtractor = (key: never, value: never, section: string) => Iterable<string>

/** Which parts of a record are read as text. */
export interface RecordEncoding {
  readonly textKeys: boolean
  readonly textValues: boolean
}

export interface ScanOptions {
  readonly spans: readonly KeySpan[]
  readonly encoding: RecordEncoding
  readonly payloadIdsOf: PayloadIdExtractor
}

/** What a scan is for. */
export interface ScanTarget {
  /** Takes one frame of records of one section; the scan waits for it. */
  writeRecords(section: number, records: readonly StoredRecord[]): Promise<void>
  addPayloadId(payloadId: string): void
  /** Called between batches: a chance to yield, or to end the scan by throwing. */
  checkpoint(): Promise<void> | void
}

/** The most records of a frame. */
export const FRAME_RECORDS = 1000
/** The characters of text, or bytes, after which a frame ends. */
const FRAME_LENGTH = 1024 * 1024
/** What a frame holds, less what its encoding adds to one record. */
const MAX_RECORD_BYTES = MAX_STORED_BYTES - 64
/** Never reached before `FRAME_LENGTH` (a UTF-16 unit has at most three bytes), so that every database gives the same frames. */
const BATCH_BYTES = 4 * FRAME_LENGTH
/** How many keys of undecodable records an error names. */
const MAX_NAMED_RECORDS = 20
const REPLACEMENT = '\ufffd'

/** Decodes UTF-8 exactly as it is; the one of abstract-level drops a leading byte order mark from databases that keep views. */
const EXACT_TEXT = {
  name: 'holdfast-text',
  format: 'buffer',
  encode: (text: string): Buffer => Buffer.from(text),
  decode: (bytes: Buffer): string => bytes.toString(),
} as const

/** One instant of a database, with one iterator over all of it. */
export class StoreView {
  readonly openedAtMs: number
  readonly #db: LevelDatabase
  readonly #snapshot: ReturnType<LevelDatabase['snapshot']> | undefined
  readonly #iterator: ReturnType<LevelDatabase['iterator']>

  /** Opens the view at once, without waiting for anything. */
  constructor(db: LevelDatabase, { textKeys, textValues }: RecordEncoding) {
    this.#db = db
    const text = db.keyEncoding('utf8').format === 'utf8' ? 'utf8' : EXACT_TEXT
    this.#snapshot = db.supports.explicitSnapshots ? db.snapshot() : undefined
    this.openedAtMs = Date.now()
    this.#iterator = db.iterator({
      snapshot: this.#snapshot,
      keyEncoding: textKeys ? text : 'buffer',
      valueEncoding: textValues ? text : 'buffer',
      highWaterMarkBytes: BATCH_BYTES,
    } as object)
  }

  /** The next records; none at the end. */
  async next(): Promise<readonly StoredRecord[]> {
    try {
      return (await this.#iterator.nextv(FRAME_RECORDS)) as readonly StoredRecord[]
    } catch (error) {
      throw new StoreUnavailableError(`Cannot read the store: ${messageOf(error)}`, { cause: error })
    }
  }

  /** Whether the text of a record gives its very bytes again. `after` is the key before it. */
  async isExact(record: StoredRecord, after: Value | undefined): Promise<boolean> {
    const range = after === undefined ? {} : { gt: typeof after === 'string' ? Buffer.from(after) : after }
    const iterator = this.#db.iterator<Buffer, Buffer>({
      ...range,
      snapshot: this.#snapshot,
      limit: 1,
      keyEncoding: 'buffer',
      valueEncoding: 'buffer',
    } as object)
    try {
      const stored = await iterator.next()
      return stored !== undefined && isSame(stored[0], record[0]) && isSame(stored[1], record[1])
    } finally {
      await iterator.close()
    }
  }

  async close(): Promise<void> {
    await this.#iterator.close()
    await this.#snapshot?.close()
  }
}

/**
 * Reads every record of a view. A record that cannot be decoded, is no valid text, or belongs to no section ends the scan
 * with `record_invalid`, once all such records have been counted.
 */
export async function scan(view: StoreView, target: ScanTarget, options: ScanOptions): Promise<void> {
  const frames = new FrameCutter(target, options)
  let ahead = view.next()
  for (;;) {
    const records = await ahead
    if (records.length === 0) break
    // Asked for before these are worked on: the database reads while this thread encodes.
    ahead = view.next()
    // Seen by the next turn, unless this one throws.
    ahead.catch(() => undefined)
    await target.checkpoint()
    frames.add(records)
    await frames.checkText(view)
    await frames.write()
  }
  await frames.end()
}

interface Frame {
  readonly section: number
  readonly records: StoredRecord[]
  length: number
}

class FrameCutter {
  readonly #target: ScanTarget
  readonly #payloadIdsOf: (key: Value, value: Value, section: string) => Iterable<string>
  readonly #cursor: SpanCursor
  readonly #invalid = new InvalidRecords()
  readonly #full: Frame[] = []
  #frame: Frame | undefined
  /** Records whose text may stand for bytes that are no text, each with the key before it. */
  #doubtful: (readonly [record: StoredRecord, after: Value | undefined])[] = []
  #lastKey: Value | undefined

  constructor(target: ScanTarget, { spans, payloadIdsOf }: ScanOptions) {
    this.#target = target
    this.#payloadIdsOf = payloadIdsOf as (key: Value, value: Value, section: string) => Iterable<string>
    this.#cursor = new SpanCursor(spans)
  }

  add(records: readonly StoredRecord[]): void {
    const last = records.at(-1)
    const first = records[0]
    if (first === undefined || last === undefined) return
    // Nearly always all records of a batch are in one span, which its ends tell.
    let span = this.#cursor.of(first[0])
    const isOneSpan = isBefore(last[0], span)
    for (const record of records) {
      if (!isOneSpan) span = this.#cursor.of(record[0])
      if (span.section !== OWN_SPAN) this.#addRecord(record, span)
      this.#lastKey = record[0]
    }
  }

  /** Looks at the bytes of records whose text has a replacement character: it may be theirs, or stand for what is no text. */
  async checkText(view: StoreView): Promise<void> {
    if (this.#doubtful.length === 0) return
    for (const [record, after] of this.#doubtful) {
      if (!(await view.isExact(record, after))) this.#invalid.add(record[0], new TypeError('The record is not valid UTF-8'))
    }
    this.#doubtful = []
  }

  async write(): Promise<void> {
    for (const { section, records } of this.#full) {
      // What was written is worthless once a record was invalid; the rest is read only to count.
      if (this.#invalid.count === 0) await this.#target.writeRecords(section, records)
    }
    this.#full.length = 0
  }

  async end(): Promise<void> {
    this.#endFrame()
    await this.write()
    this.#invalid.check()
  }

  #addRecord(record: StoredRecord, span: KeySpan): void {
    const [key, value] = record
    if (span.section === FOREIGN_SPAN) return this.#invalid.add(key, new TypeError('The key is in no section'))
    try {
      for (const payloadId of this.#payloadIdsOf(key, value, span.name)) this.#target.addPayloadId(payloadId)
    } catch (error) {
      return this.#invalid.add(key, error)
    }
    const length = key.length + value.length
    if (length > FRAME_LENGTH) {
      // A frame of its own, as a frame has a limit too.
      this.#endFrame()
      if (byteLength(key) + byteLength(value) > MAX_RECORD_BYTES) return this.#invalid.add(key, new TypeError('It is larger than a frame can be'))
    }
    if (hasReplacement(key) || hasReplacement(value)) this.#doubtful.push([record, this.#lastKey])
    if (this.#frame?.section !== span.section) this.#endFrame()
    const frame = (this.#frame ??= { section: span.section, records: [], length: 0 })
    frame.records.push(record)
    frame.length += length
    if (frame.records.length === FRAME_RECORDS || frame.length > FRAME_LENGTH) this.#endFrame()
  }

  #endFrame(): void {
    if (this.#frame !== undefined) this.#full.push(this.#frame)
    this.#frame = undefined
  }
}

class InvalidRecords {
  count = 0
  readonly #keys: string[] = []
  #firstError: unknown

  add(key: Value, error: unknown): void {
    if (this.count === 0) this.#firstError = error
    if (this.count < MAX_NAMED_RECORDS) this.#keys.push(nameOfKey(key))
    this.count++
  }

  check(): void {
    if (this.count === 0) return
    const first = this.#keys[0] ?? ''
    const which = this.count === 1 ? `record ${JSON.stringify(first)}` : `${this.count} records, the first of them ${JSON.stringify(first)}`
    throw new RecordInvalidError(`Cannot back up ${which}: ${messageOf(this.#firstError)}`, {
      cause: this.#firstError,
      details: { key: first, keys: this.#keys, count: this.count },
    })
  }
}

function byteLength(value: Value): number {
  return typeof value === 'string' ? Buffer.byteLength(value) : value.byteLength
}

function hasReplacement(value: Value): boolean {
  return typeof value === 'string' && value.includes(REPLACEMENT)
}

function isSame(bytes: Buffer, value: Value): boolean {
  return typeof value === 'string' ? isUtf8(bytes) && bytes.toString() === value : bytes.equals(value)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
