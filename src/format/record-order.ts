/** The order of keys in a stream of records, and the check of records whose meaning is not known. */
import { RestoreCorruptError } from '../errors/errors.ts'
import type { Value } from './cbor-reader.ts'
import { decodeRecords } from './records.ts'
import type { DataFrame, FrameSource } from './snapshot-reader.ts'

/** Checks that the keys of each section are in strictly ascending order of their bytes. */
export class KeyOrder {
  #section: number | undefined
  #last: Value = ''

  /** Takes the next key. Throws `restore_corrupt` for one that is not greater than the key before in its section. */
  check(key: Value, frame: DataFrame): void {
    if (frame.section === this.#section && compareKeys(this.#last, key) >= 0) {
      throw frameFault(frame, `key ${JSON.stringify(nameOfKey(key))} is not greater than the key before`)
    }
    this.#section = frame.section
    this.#last = key
  }
}

/** Checks records as far as FORMAT.md goes: the form of each frame, and the order of keys. Rejects with `restore_corrupt`. */
export async function checkRecordForm(source: FrameSource): Promise<undefined> {
  const order = new KeyOrder()
  for await (const frame of source.frames()) for (const [key] of decodeRecords(frame)) order.check(key, frame)
}

/** The `restore_corrupt` of a data frame whose content breaks a rule. */
export function frameFault({ sequence, offset }: Pick<DataFrame, 'sequence' | 'offset'>, fault: string, cause?: unknown): RestoreCorruptError {
  return new RestoreCorruptError(`Cannot restore frame ${sequence}: ${fault}`, { offset, frame: sequence, cause })
}

/** Compares keys by their bytes, text by its UTF-8. */
export function compareKeys(left: Value, right: Value): number {
  if (typeof left !== 'string' && typeof right !== 'string') return Buffer.compare(left, right)
  if (typeof left === 'string' && typeof right === 'string' && !(HIGH.test(left) && HIGH.test(right))) {
    return left < right ? -1 : left > right ? 1 : 0
  }
  return Buffer.compare(keyBytes(left), keyBytes(right))
}

/** A key for an error: its text, or its bytes in hexadecimal. Long keys are cut. */
export function nameOfKey(key: Value): string {
  return typeof key === 'string' ? key.slice(0, NAMED_LENGTH) : `0x${keyBytes(key.subarray(0, NAMED_LENGTH)).toString('hex')}`
}

const NAMED_LENGTH = 300

/** UTF-16 and UTF-8 sort alike unless both texts have characters from the surrogates on. */
const HIGH = /[\ud800-\uffff]/

function keyBytes(key: Value): Buffer {
  return typeof key === 'string' ? Buffer.from(key) : Buffer.from(key.buffer, key.byteOffset, key.byteLength)
}
