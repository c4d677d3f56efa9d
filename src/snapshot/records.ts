/** The content of a data frame of a key-value store: a CBOR array of [key, value] pairs of text or byte strings. */
import { Encoder } from 'cbor-x'
import { RestoreCorruptError } from '../errors.ts'
import { CborReader, type Value } from './cbor-reader.ts'

export type { Value } from './cbor-reader.ts'
export type StoredRecord = readonly [key: Value, value: Value]

/** The most records of one frame, so that a small frame of tiny records cannot become a heap of objects. */
export const MAX_FRAME_RECORDS = 65_536

/** A data frame, as far as its records go. */
export interface RecordFrame {
  readonly sequence: number
  readonly offset: number
  readonly records: number
  readonly data: Uint8Array
}

/** Byte strings of any class become plain ones, without a tag. */
const encoder = new Encoder({ useRecords: false, tagUint8Array: false })

/** Encodes records as they are, in one go. Throws a `RangeError` for more than 65,536 records, a `TypeError` for half a surrogate pair. */
export function encodeRecords(records: readonly StoredRecord[]): Buffer {
  if (records.length > MAX_FRAME_RECORDS) throw new RangeError(`A frame holds at most ${MAX_FRAME_RECORDS} records; these are ${records.length}`)
  for (const [key, value] of records) if (!isText(key) || !isText(value)) throw new TypeError('A text with half a surrogate pair cannot be written')
  return encoder.encode(records)
}

/** Decodes what `encodeRecords` made, and nothing else. Byte strings are views of the frame. Throws `restore_corrupt`. */
export function decodeRecords(frame: RecordFrame): [Value, Value][] {
  const { sequence, offset } = frame
  try {
    return readRecords(new CborReader(frame.data), frame.records)
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause
    throw new RestoreCorruptError(`Cannot decode frame ${sequence} at byte ${offset}: ${cause.message}`, { frame: sequence, offset, cause })
  }
}

function readRecords(reader: CborReader, count: number): [Value, Value][] {
  if (count > MAX_FRAME_RECORDS) throw new TypeError(`it has more than ${MAX_FRAME_RECORDS} records`)
  if (reader.array() !== count) throw new TypeError('it does not hold as many records as it says')
  const records: [Value, Value][] = []
  for (let index = 0; index < count; index++) {
    if (reader.array() !== 2) throw new TypeError('a record is no pair')
    records.push([reader.value(), reader.value()])
  }
  reader.end()
  return records
}

/** Every supported Node has it; the language level of this project does not name it yet. */
interface ExactText {
  isWellFormed(): boolean
}

/** Whether a value is bytes, or text that has a form in UTF-8. */
function isText(value: Value): boolean {
  return typeof value !== 'string' || (value as unknown as ExactText).isWellFormed()
}
