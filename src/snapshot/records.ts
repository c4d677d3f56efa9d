/** The content of a data frame of a key-value store: a CBOR array of [key, value] pairs of text or byte strings. */
import { encode } from 'cbor-x'
import { RestoreCorruptError } from '../errors.ts'
import { CborReader, type Value } from './cbor-reader.ts'

export type { Value } from './cbor-reader.ts'
export type StoredRecord = readonly [key: Value, value: Value]

/** A data frame, as far as its records go. */
export interface RecordFrame {
  readonly sequence: number
  readonly offset: number
  readonly records: number
  readonly data: Uint8Array
}

/** Encodes records as they are, in one go. */
export function encodeRecords(records: readonly StoredRecord[]): Buffer {
  return encode(records)
}

/** Decodes what `encodeRecords` made, and nothing else. Byte strings are views of the frame. Throws `restore_corrupt`. */
export function decodeRecords(frame: RecordFrame): [Value, Value][] {
  const { sequence, offset } = frame
  try {
    const reader = new CborReader(frame.data)
    if (reader.array() !== frame.records) throw new TypeError('it does not hold as many records as it says')
    const records: [Value, Value][] = []
    for (let index = 0; index < frame.records; index++) {
      if (reader.array() !== 2) throw new TypeError('a record is no pair')
      records.push([reader.value(), reader.value()])
    }
    reader.end()
    return records
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause
    throw new RestoreCorruptError(`Cannot decode frame ${sequence} at byte ${offset}: ${cause.message}`, { frame: sequence, offset, cause })
  }
}
