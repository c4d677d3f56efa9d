/** Reads a whole database in key order from one view, and cuts it into frames of records. */
import { isAscii } from 'node:buffer'
import { messageOf } from '../../../errors/error-message.ts'
import { BackupUnsupportedError, InvalidArgumentError, RecordInvalidError } from '../../../errors/errors.ts'
import { nameOf } from '../../../util/check-options.ts'
import { type IdList, isPayloadId, listOf } from '../../../payload-ids/index.ts'
import { type Allocate, MAX_STORED_BYTES, contentOf } from '../../../format/frame.ts'
import { compareKeys, nameOfKey } from '../../../format/record-order.ts'
import { type StoredRecord, type TextColumns, columnsOf, encodeRecords } from '../../../format/records.ts'
import { type KeySpan, type Value, FOREIGN_SPAN, OWN_SPAN, SpanCursor, isBefore } from './key-spans.ts'
import type { FrameCounter } from './payload-id-counter.ts'
import type { DatabaseView } from './database-view.ts'

/**
 * Returns the payload IDs that a record refers to: strings of 1 to 255 printable ASCII characters, without spaces. Not async. May throw
 * when the record cannot be decoded. Key and value are as stored: text, or bytes, and never what an encoding such as `json` makes of them.
 * `section` is the name of its section.
 */
export type PayloadIdExtractor<Key extends Value = never, Stored extends Value = never> = (key: Key, value: Stored, section: string) => Iterable<string>

export interface ScanOptions {
  readonly spans: readonly KeySpan[]
  readonly payloadIdsOf: PayloadIdExtractor
  /** Sees every frame. @default none */
  readonly counter?: FrameCounter | undefined
}

/** A frame of records of one section, encoded but not sealed, and the payload IDs that they refer to. */
export interface ScannedFrame {
  readonly section: number
  readonly records: number
  readonly lastKey: Value
  readonly frame: Buffer
  readonly payloadIds: readonly IdList[]
}

/** The receiver of a scan. */
export interface ScanTarget {
  /** Takes one frame. The scan waits for that. */
  writeFrame(frame: ScannedFrame): Promise<void>
  /** Called between batches: a chance to yield, or to end the scan by throwing. */
  checkpoint(): Promise<void> | void
  /** Allocates the memory of frames. @default fresh memory */
  readonly allocate?: Allocate | undefined
}

/** The most records of a frame. */
export const FRAME_RECORDS = 1000
/** The characters of text, or bytes, after which a frame ends. */
const FRAME_LENGTH = 1024 * 1024
/** The most bytes of a record, key and value together: those of a frame, less what the encoding adds. */
const MAX_RECORD_BYTES = MAX_STORED_BYTES - 64
/** Payload IDs packed at once. */
const PACKED_IDS = 4096
/** The most keys of invalid records in an error. */
const MAX_NAMED_RECORDS = 20
const REPLACEMENT = '\ufffd'

/**
 * Reads every record of a view. A record that cannot be decoded, is not valid text, or is outside all sections fails the scan
 * with `record_invalid`, after all such records have been counted. A record that is larger than a frame, and a database that does not sort
 * keys by their bytes, fail it with `backup_unsupported`: no restore would take them.
 */
export async function scan(view: DatabaseView, target: ScanTarget, options: ScanOptions): Promise<void> {
  const frames = new FrameCutter(view, target, options)
  let ahead = view.next()
  for (;;) {
    const records = await ahead
    if (records.length === 0) break
    // Ask before working on these: the database reads while this thread encodes.
    ahead = view.next()
    // The next turn sees a failure, unless this one throws.
    ahead.catch(() => undefined)
    await target.checkpoint()
    frames.add(records)
    await frames.write()
  }
  await frames.end()
}

class Frame {
  readonly section: number
  readonly name: string
  readonly records: StoredRecord[] = []
  /** Characters of text, or bytes. */
  length = 0
  readonly payloadIds: string[] = []
  /** Keys that are not in the frame, by the number of the record that follows them. */
  readonly keysBetween: Map<number, Value | undefined>

  constructor({ section, name }: KeySpan, before: Value | undefined) {
    this.section = section
    this.name = name
    this.keysBetween = new Map([[0, before]])
  }
}

class FrameCutter {
  readonly #view: DatabaseView
  readonly #target: ScanTarget
  readonly #payloadIdsOf: (key: Value, value: Value, section: string) => Iterable<string>
  readonly #counter: FrameCounter | undefined
  readonly #cursor: SpanCursor
  readonly #invalid = new InvalidRecords()
  readonly #full: Frame[] = []
  #frame: Frame | undefined
  #lastKey: Value | undefined
  /** The last key of the frame before, if that has keys beyond ASCII. */
  #lastHighKey: Value | undefined

  constructor(view: DatabaseView, target: ScanTarget, { spans, payloadIdsOf, counter }: ScanOptions) {
    this.#view = view
    this.#target = target
    this.#payloadIdsOf = payloadIdsOf as (key: Value, value: Value, section: string) => Iterable<string>
    this.#counter = counter
    this.#cursor = new SpanCursor(spans)
  }

  add(records: readonly StoredRecord[]): void {
    const last = records.at(-1)
    const first = records[0]
    if (first === undefined || last === undefined) return
    // Nearly always all records of a batch are in one span, as the first and the last show.
    let span = this.#cursor.of(first[0])
    const isOneSpan = isBefore(last[0], span)
    for (const record of records) {
      if (!isOneSpan) span = this.#cursor.of(record[0])
      if (span.section === OWN_SPAN) this.#frame?.keysBetween.set(this.#frame.records.length, record[0])
      else this.#addRecord(record, span)
      this.#lastKey = record[0]
    }
  }

  async write(): Promise<void> {
    for (const frame of this.#full) {
      const { section, name, records } = frame
      const payloadIds = this.#packed(frame)
      const encoded = encodeRecords(records, this.#target.allocate)
      if (encoded.includes(REPLACEMENT)) await this.#checkText(frame)
      // After an invalid record the snapshot is void; the rest is read only to count.
      if (this.#invalid.count > 0) continue
      this.#checkOrder(records, columnsOf(contentOf(encoded)))
      await this.#counter?.add({ name, records, columns: () => columnsOf(contentOf(encoded)), lookup: (keys) => this.#view.getMany(keys) })
      await this.#target.writeFrame({ section, records: records.length, lastKey: records.at(-1)?.[0] ?? '', frame: encoded, payloadIds })
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
    if (span.section === FOREIGN_SPAN) return this.#invalid.add(key, new TypeError('The key does not belong to a section'), FOREIGN_HINT)
    const length = key.length + value.length
    if (length > FRAME_LENGTH) {
      // The record gets a frame of its own, for a frame has a limit too.
      this.#endFrame()
      checkSize(record)
    }
    if (this.#frame?.section !== span.section) this.#endFrame()
    const frame = (this.#frame ??= new Frame(span, this.#lastKey))
    let wrong: readonly unknown[] = []
    try {
      const given: unknown = this.#payloadIdsOf(key, value, span.name)
      // Do not spread: a record may refer to more IDs than a call takes arguments.
      for (const payloadId of isList(given) ? given : (wrong = [given])) {
        if (typeof payloadId !== 'string') wrong = [payloadId]
        else frame.payloadIds.push(payloadId)
      }
    } catch (error) {
      this.#invalid.add(key, error)
      return
    }
    if (wrong.length > 0) throw wrongExtractor(key, wrong[0])
    frame.records.push(record)
    frame.length += length
    if (frame.records.length === FRAME_RECORDS || frame.length > FRAME_LENGTH) this.#endFrame()
  }

  #endFrame(): void {
    if (this.#frame !== undefined && this.#frame.records.length > 0) this.#full.push(this.#frame)
    this.#frame = undefined
  }

  #packed({ payloadIds, records, name }: Frame): IdList[] {
    const lists: IdList[] = []
    try {
      for (let from = 0; from < payloadIds.length; from += PACKED_IDS) lists.push(listOf(payloadIds.slice(from, from + PACKED_IDS)))
    } catch (error) {
      for (const [key, value] of records) {
        for (const payloadId of this.#payloadIdsOf(key, value, name)) if (!isPayloadId(payloadId)) throw wrongExtractor(key, payloadId)
      }
      throw error
    }
    return lists
  }

  /**
   * Checks the order of keys that are not ASCII. A database in memory that stores text sorts it by UTF-16, which only characters beyond the
   * first plane tell from the order of bytes.
   */
  #checkOrder(records: readonly StoredRecord[], { keys: { buffer, byteOffset, byteLength } }: TextColumns): void {
    let before = this.#lastHighKey
    this.#lastHighKey = undefined
    if (isAscii(new Uint8Array(buffer, byteOffset, byteLength))) return
    for (const [key] of records) {
      if (before !== undefined && compareKeys(before, key) >= 0) {
        const [first, second] = [before, key].map((key) => JSON.stringify(nameOfKey(key)))
        throw new BackupUnsupportedError(`Cannot back up the database: it sorts key ${first} before ${second}, which is not the order of their bytes`, {
          hint: 'Open the database with the option storeEncoding "buffer" or "view": it then sorts keys by their bytes',
        })
      }
      before = key
    }
    this.#lastHighKey = before
  }

  /** Checks the bytes of records with a replacement character, which may be their own or stand for bytes that are not text. */
  async #checkText({ records, keysBetween }: Frame): Promise<void> {
    for (const [index, record] of records.entries()) {
      if (!hasReplacement(record[0]) && !hasReplacement(record[1])) continue
      const after = keysBetween.has(index) ? keysBetween.get(index) : records[index - 1]?.[0]
      if (!(await this.#view.isExact(record, after))) this.#invalid.add(record[0], new TypeError('The record is not valid UTF-8'), TEXT_HINT)
    }
  }
}

/** Whether an extractor returned a list. A string is iterable too, but its letters are not payload IDs. */
function isList(given: unknown): given is Iterable<unknown> {
  return typeof given === 'object' && given !== null && Symbol.iterator in given
}

/** The mistake of an extractor: the record is as good as any. */
function wrongExtractor(key: Value, given: unknown): InvalidArgumentError {
  const what = typeof given === 'string' ? JSON.stringify(given.slice(0, 64)) : nameOf(given)
  const rule = 'an iterable of strings of 1 to 255 printable ASCII characters, without spaces'
  return new InvalidArgumentError(`Cannot back up record ${JSON.stringify(nameOfKey(key))}: payloadIds() gave ${what}; it must return payload IDs, ${rule}`, {
    hint: 'Mend the function that is given as payloadIds; encode other names of payloads in the same way wherever they are used, such as with encodeURIComponent()',
    details: { key: nameOfKey(key) },
  })
}

const FOREIGN_HINT = 'In a database of your own, have "sections" or "ownKeys" take in its key; remove it from a metadata store that another program wrote it to'
const TEXT_HINT = 'In a database of your own that does not hold text alone, use the encoding "bytes"; repair it in a metadata store, then back up again'

class InvalidRecords {
  count = 0
  readonly #keys: string[] = []
  #firstError: unknown
  #hint: string | undefined

  add(key: Value, error: unknown, hint?: string): void {
    if (this.count === 0) {
      this.#firstError = error
      this.#hint = hint
    }
    if (this.count < MAX_NAMED_RECORDS) this.#keys.push(nameOfKey(key))
    this.count++
  }

  check(): void {
    if (this.count === 0) return
    const first = this.#keys[0] ?? ''
    const which = this.count === 1 ? `record ${JSON.stringify(first)}` : `${this.count} records, the first of them ${JSON.stringify(first)}`
    throw new RecordInvalidError(`Cannot back up ${which}: ${messageOf(this.#firstError)}`, {
      cause: this.#firstError,
      hint: this.#hint,
      details: { key: first, keys: this.#keys, count: this.count },
    })
  }
}

/** Throws `backup_unsupported` for a record that no frame can hold. */
function checkSize([key, value]: StoredRecord): void {
  const bytes = byteLength(key) + byteLength(value)
  if (bytes <= MAX_RECORD_BYTES) return
  const name = nameOfKey(key)
  throw new BackupUnsupportedError(`Cannot back up record ${JSON.stringify(name)}: it has ${bytes} bytes, and a backup holds records of at most ${MAX_RECORD_BYTES}`, {
    hint: 'Keep large values as payloads, or cut them into several records',
    details: { key: name, bytes, limit: MAX_RECORD_BYTES },
  })
}

function byteLength(value: Value): number {
  return typeof value === 'string' ? Buffer.byteLength(value) : value.byteLength
}

function hasReplacement(value: Value): boolean {
  return typeof value === 'string' && value.includes(REPLACEMENT)
}
