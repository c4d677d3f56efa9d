/**
 * The content of a data frame of records: a CBOR array of [key lengths, keys, value lengths, values].
 *
 * All keys are one string, and all values another: that is many times as fast to write and read as a string per record.
 */
import { isAscii, isUtf8 } from 'node:buffer'
import { RestoreCorruptError } from '../errors/errors.ts'
import { CborReader, type Value } from './cbor-reader.ts'
import { type Allocate, contentOf, newFrame } from './frame.ts'

export type { Value } from './cbor-reader.ts'
export type StoredRecord = readonly [key: Value, value: Value]

/** The most records of one frame: a small frame of tiny records must not become a heap of objects. */
export const MAX_FRAME_RECORDS = 65_536

/** The part of a data frame that decoding records needs. */
export interface RecordFrame {
  readonly sequence: number
  readonly offset: number
  readonly records: number
  readonly data: Uint8Array
}

const ARRAY_OF_FOUR = 0x84
const BYTES_HEAD = 0x5a
const TEXT_HEAD = 0x7a
/** One byte for the type, four for the length. */
const HEAD_BYTES = 5
const LENGTH_BYTES = 4
/** The upper two bits of a UTF-8 byte that continues a character. */
const CONTINUATION = 0b10

/** Texts that are joined for one write: V8 allocates joined text of some ten thousand characters cheaply. */
const JOINED_TEXTS = 64

interface Column {
  readonly isText: boolean
  readonly bytes: number
  /** Writes the column, and returns where it ends. */
  readonly write: (content: Buffer, at: number) => number
}

/**
 * Encodes records into a frame, ready to be sealed. Keys are all text or all bytes; so are values.
 * Throws a `RangeError` for more than 65,536 records, a `TypeError` for text and bytes in one column, or for half a surrogate pair.
 */
export function encodeRecords(records: readonly StoredRecord[], allocate?: Allocate): Buffer {
  const count = records.length
  if (count > MAX_FRAME_RECORDS) throw new RangeError(`A frame holds at most ${MAX_FRAME_RECORDS} records; these are ${count}`)
  // The lengths of all keys, then of all values.
  const lengths = new Uint32Array(2 * count)
  const keys = column(records, 0, lengths.subarray(0, count))
  const values = column(records, 1, lengths.subarray(count))
  const frame = newFrame(1 + 4 * HEAD_BYTES + LENGTH_BYTES * lengths.length + keys.bytes + values.bytes, allocate)
  const content = contentOf(frame)
  const keysEnd = writeColumn(keys, lengths.subarray(0, count), content, content.writeUInt8(ARRAY_OF_FOUR, 0))
  writeColumn(values, lengths.subarray(count), content, keysEnd)
  return frame
}

/** The texts of a frame as bytes, without gaps. */
export interface TextColumns {
  readonly keys: DataView
  readonly values: DataView
}

/** The columns of a frame's content, as views. The content must be one that `decodeRecords` decodes. */
export function columnsOf(content: Uint8Array): TextColumns {
  const reader = new CborReader(content)
  reader.array()
  const next = (): DataView => {
    reader.bytes()
    const { buffer, byteOffset, byteLength } = reader.string().bytes
    return new DataView(buffer, byteOffset, byteLength)
  }
  return { keys: next(), values: next() }
}

/** Decodes a frame of `encodeRecords`. Byte strings are views of the frame. Throws `restore_corrupt` for any other content. */
export function decodeRecords(frame: RecordFrame): [Value, Value][] {
  const { sequence, offset } = frame
  try {
    return readRecords(new CborReader(frame.data), frame.records)
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause
    throw new RestoreCorruptError(`Cannot decode frame ${sequence} at byte ${offset}: ${cause.message}`, { frame: sequence, offset, cause })
  }
}

function column(records: readonly StoredRecord[], at: 0 | 1, lengths: Uint32Array): Column {
  return typeof records[0]?.[at] === 'string' ? textColumn(records, at, lengths) : byteColumn(records, at, lengths)
}

function textColumn(records: readonly StoredRecord[], at: 0 | 1, lengths: Uint32Array): Column {
  const parts: (readonly [text: string, encoding: 'latin1' | 'utf8'])[] = []
  let bytes = 0
  for (let from = 0; from < records.length; from += JOINED_TEXTS) {
    const end = Math.min(from + JOINED_TEXTS, records.length)
    let joined = ''
    for (let index = from; index < end; index++) {
      const text = records[index]?.[at]
      if (typeof text !== 'string') throw mixed()
      joined += text
      lengths[index] = text.length
    }
    const joinedBytes = Buffer.byteLength(joined)
    // The fast case, and nearly always true: each character is a byte.
    const isAscii = joinedBytes === joined.length
    if (!isAscii) for (let index = from; index < end; index++) lengths[index] = byteLengthOf(records[index]?.[at] as string)
    parts.push([joined, isAscii ? 'latin1' : 'utf8'])
    bytes += joinedBytes
  }
  return {
    isText: true,
    bytes,
    write: (content, start) => parts.reduce((at, [text, encoding]) => at + content.write(text, at, encoding), start),
  }
}

function byteColumn(records: readonly StoredRecord[], at: 0 | 1, lengths: Uint32Array): Column {
  let bytes = 0
  const parts = records.map((record, index) => {
    const part = record[at]
    if (typeof part === 'string') throw mixed()
    lengths[index] = part.byteLength
    bytes += part.byteLength
    return part
  })
  return {
    isText: false,
    bytes,
    write: (content, start) =>
      parts.reduce((at, part) => {
        content.set(part, at)
        return at + part.byteLength
      }, start),
  }
}

function mixed(): TypeError {
  return new TypeError('Text and bytes cannot be written into one column of a frame')
}

function byteLengthOf(text: string): number {
  // Two halves would become one character when the texts are joined.
  if (!text.isWellFormed()) throw new TypeError('A text with half a surrogate pair cannot be written')
  return Buffer.byteLength(text)
}

function writeColumn({ isText, bytes, write }: Column, lengths: Uint32Array, content: Buffer, start: number): number {
  let at = writeHead(content, start, BYTES_HEAD, LENGTH_BYTES * lengths.length)
  for (const length of lengths) {
    content[at++] = length
    content[at++] = length >>> 8
    content[at++] = length >>> 16
    content[at++] = length >>> 24
  }
  return write(content, writeHead(content, at, isText ? TEXT_HEAD : BYTES_HEAD, bytes))
}

function writeHead(content: Buffer, at: number, head: number, length: number): number {
  content.writeUInt8(head, at)
  return content.writeUInt32BE(length, at + 1)
}

function readRecords(reader: CborReader, count: number): [Value, Value][] {
  if (count > MAX_FRAME_RECORDS) throw new TypeError(`it has more than ${MAX_FRAME_RECORDS} records`)
  if (reader.array() !== 4) throw new TypeError('it does not have four columns')
  const keys = readColumn(reader, count)
  const values = readColumn(reader, count)
  reader.end()
  return keys.map((key, index) => [key, values[index] ?? ''])
}

function readColumn(reader: CborReader, count: number): readonly Value[] {
  const lengths = reader.bytes()
  if (lengths.byteLength !== count * LENGTH_BYTES) throw new TypeError('its header names another number of records')
  const ends = endsOf(lengths)
  const { isText, bytes } = reader.string()
  if ((ends.at(-1) ?? 0) !== bytes.byteLength) throw new TypeError('a column is not as long as its parts')
  if (!isText) return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end))
  if (isAscii(bytes)) return slices(bytes.toString('latin1'), ends)
  return textParts(bytes, ends)
}

function endsOf(lengths: Buffer): number[] {
  const ends: number[] = []
  let end = 0
  for (let at = 0; at < lengths.byteLength; at += LENGTH_BYTES) {
    end += lengths.readUInt32LE(at)
    ends.push(end)
  }
  return ends
}

function slices(text: string, ends: readonly number[]): string[] {
  return ends.map((end, index) => text.slice(ends[index - 1] ?? 0, end))
}

function textParts(bytes: Buffer, ends: readonly number[]): string[] {
  if (!isUtf8(bytes)) throw new TypeError('a text is not valid UTF-8')
  return ends.map((end, index) => {
    if ((bytes[end] ?? 0) >> 6 === CONTINUATION) throw new TypeError('a text ends within a character')
    return bytes.toString('utf8', ends[index - 1] ?? 0, end)
  })
}
