/** Follows the rows of a table through its slices, and checks that these are cut as FORMAT.md says. The server checks the values. */
import { isPayloadId, MAX_ID_LENGTH } from '../../../payload-ids/index.ts'
import { BINARY_HEADER } from '../connection/copy-out.ts'
import { type ArchivedTable, MAX_SLICE_BYTES, SLICE_BYTES } from './archive.ts'

const TAB = 0x09
const LINE_FEED = 0x0a
/** The count of columns that ends a binary COPY stream. */
const TRAILER = -1
/** Bytes of a count of columns, and of a length. */
const COUNT_BYTES = 2
const LENGTH_BYTES = 4

/** A column whose values are payload IDs, in tables of the binary format. */
export interface PayloadIdColumn {
  readonly column: string
  readonly take: (payloadId: string) => void
}

/** `add` the slices in order, then `end`. Both throw a `TypeError` that says what is wrong. */
export class TableRows {
  readonly #columns: number
  readonly #isBinary: boolean
  /** Takes the payload IDs of a column, by how many fields of the row follow it. */
  readonly #take: ((payloadId: string) => void) | undefined
  readonly #fieldsAfter: number
  /** The payload ID that is being read. */
  #payloadId: Buffer | undefined
  #rows = 0
  /** Whether the last slice is as long as one that others follow. */
  #isFull = true
  /** Whether the bytes so far end where a row does, and, of the binary format, whether the trailer was there. */
  #isBetweenRows = true
  #isEnded = false
  #isBegun = false
  /** Of the binary format: fields and bytes of a field that are still to come, and the beginning of a number that is cut. */
  #fields = 0
  #skip = 0
  #rest: Buffer = Buffer.alloc(0)
  /** Of the text format: tabs of the row so far. */
  #tabs = 0
  /** Where the first row ends that makes the slice long enough. */
  #enough: number | undefined

  constructor({ columns, format }: ArchivedTable, payloadIds?: PayloadIdColumn) {
    this.#columns = columns.length
    this.#isBinary = format === 'binary'
    this.#take = payloadIds?.take
    this.#fieldsAfter = columns.toReversed().findIndex(({ name }) => name === payloadIds?.column)
  }

  /** Takes the next slice, and returns how many rows end in it. */
  add(slice: Buffer): number {
    if (!this.#isFull) throw new TypeError('it follows a slice that is the last one of its table')
    const before = this.#rows
    this.#enough = undefined
    if (this.#isBinary) this.#addBinary(slice)
    else this.#addText(slice)
    const bytes = slice.byteLength - (this.#isEnded ? COUNT_BYTES : 0)
    if (bytes <= 0 || bytes > MAX_SLICE_BYTES) throw new TypeError(`its slice has ${bytes} bytes, which must be 1 to ${MAX_SLICE_BYTES}`)
    if (this.#enough !== undefined && this.#enough !== bytes) throw new TypeError('its slice goes on after the row that it ends with')
    this.#isFull = !this.#isEnded && (this.#enough === bytes || bytes === MAX_SLICE_BYTES)
    return this.#rows - before
  }

  /** Returns how many rows there were in all. */
  end(): number {
    if (!this.#isBetweenRows || this.#isEnded !== this.#isBinary) throw new TypeError('the slices of a table end within its rows')
    if (this.#rows === 0) throw new TypeError('a table has slices, but no row')
    return this.#rows
  }

  #endRow(at: number): void {
    this.#rows++
    if (at >= SLICE_BYTES) this.#enough ??= at
  }

  #addText(slice: Buffer): void {
    for (let at = 0; at < slice.byteLength; at++) {
      if (slice[at] === TAB) this.#tabs++
      if (slice[at] !== LINE_FEED) continue
      if (this.#tabs !== Math.max(this.#columns, 1) - 1) throw new TypeError(`a row has ${this.#tabs + 1} columns, the table has ${this.#columns}`)
      this.#tabs = 0
      this.#endRow(at + 1)
    }
    this.#isBetweenRows = slice.at(-1) === LINE_FEED
  }

  #addBinary(slice: Buffer): void {
    const before = this.#rest.byteLength
    const bytes = before === 0 ? slice : Buffer.concat([this.#rest, slice])
    this.#rest = Buffer.alloc(0)
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    let at = this.#isBegun ? 0 : readHeader(bytes)
    this.#isBegun = true
    while (at < bytes.byteLength) {
      if (this.#isEnded) throw new TypeError('bytes follow the end of its rows')
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, bytes.byteLength - at)
        if (this.#payloadId !== undefined) bytes.copy(this.#payloadId, this.#payloadId.byteLength - this.#skip, at, at + skipped)
        this.#skip -= skipped
        at += skipped
        if (this.#skip === 0) this.#endPayloadId()
      } else {
        const size = this.#fields === 0 ? COUNT_BYTES : LENGTH_BYTES
        if (at + size > bytes.byteLength) {
          this.#rest = Buffer.from(bytes.subarray(at))
          break
        }
        const number = size === COUNT_BYTES ? view.getInt16(at) : view.getInt32(at)
        at += size
        if (size === COUNT_BYTES) {
          this.#beginRow(number)
          continue
        }
        if (number < -1) throw new TypeError('the length of a value is negative')
        this.#fields--
        this.#skip = Math.max(number, 0)
        if (number >= 0 && this.#fields === this.#fieldsAfter) this.#beginPayloadId(number)
      }
      if (this.#skip === 0 && this.#fields === 0) this.#endRow(at - before)
    }
    this.#isBetweenRows = this.#skip === 0 && this.#fields === 0 && this.#rest.byteLength === 0
  }

  #beginPayloadId(bytes: number): void {
    if (bytes === 0 || bytes > MAX_ID_LENGTH) throw new TypeError(`a payload ID has ${bytes} bytes`)
    this.#payloadId = Buffer.alloc(bytes)
  }

  #endPayloadId(): void {
    const payloadId = this.#payloadId?.toString('latin1')
    if (payloadId === undefined) return
    if (!isPayloadId(payloadId)) throw new TypeError(`${JSON.stringify(payloadId)} is not a payload ID`)
    this.#payloadId = undefined
    this.#take?.(payloadId)
  }

  #beginRow(columns: number): void {
    this.#isEnded = columns === TRAILER
    if (!this.#isEnded && columns !== this.#columns) throw new TypeError(`a row has ${columns} columns, the table has ${this.#columns}`)
    this.#fields = Math.max(columns, 0)
  }
}

function readHeader(slice: Buffer): number {
  if (!slice.subarray(0, BINARY_HEADER.byteLength).equals(BINARY_HEADER)) throw new TypeError('its rows do not begin with the header of a binary COPY')
  return BINARY_HEADER.byteLength
}
