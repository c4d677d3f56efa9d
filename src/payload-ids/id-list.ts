/**
 * Lists of payload IDs as bytes. Most stores name payloads by digests: lower-case hex of one length, which is packed as bytes.
 * Packed IDs sort as their texts do, take half the memory, and need no strings.
 */
import { InvalidArgumentError } from '../errors/errors.ts'
import { shownText } from '../util/check-options.ts'

/** Some payload IDs in any order. */
export interface IdList {
  /** Bytes of each ID when all are lower-case hex of twice this length; 0 when the bytes are lines of text. */
  readonly width: number
  readonly count: number
  /** `count` times `width` bytes, or `count` lines, each ended by a line feed. */
  readonly bytes: Buffer
}

export const LINE_FEED = 0x0a
export const MAX_ID_LENGTH = 255
const ID = /^[\x21-\x7e]{1,255}$/
const HEX = /^(?:[0-9a-f]{2}){1,127}$/
/** The value of a lower-case hex digit; -1 for all other bytes. */
const HEX_VALUES: Int8Array = Int8Array.from({ length: 256 }, (_, byte) => '0123456789abcdef'.indexOf(String.fromCharCode(byte)))
const UPPER_CASE_DIGITS = ['A', 'B', 'C', 'D', 'E', 'F'] as const

/** Returns a payload ID. Throws `invalid_argument` unless it is 1 to 255 characters of printable ASCII without spaces. */
export function checkPayloadId(text: string): string {
  if (!isPayloadId(text)) {
    throw new InvalidArgumentError(`Cannot use ${shownText(text)} as a payload ID: it must have 1 to 255 printable ASCII characters, without spaces`)
  }
  return text
}

export function isPayloadId(text: unknown): boolean {
  return typeof text === 'string' && ID.test(text)
}

/** The width under which an ID is packed; 0 for one that is kept as text. */
export function widthOf(payloadId: string): number {
  return HEX.test(payloadId) ? payloadId.length / 2 : 0
}

/** Makes a list of IDs, packed if possible. Throws `invalid_argument` when one is not a payload ID. */
export function listOf(payloadIds: readonly string[]): IdList {
  const list = packIds(payloadIds)
  if (list !== undefined) return list
  for (const payloadId of payloadIds) checkPayloadId(payloadId)
  return { width: 0, count: payloadIds.length, bytes: Buffer.from(payloadIds.length === 0 ? '' : `${payloadIds.join('\n')}\n`, 'latin1') }
}

/** Packs IDs as bytes; `undefined` unless all are lower-case hex of one even length. */
export function packIds(payloadIds: readonly string[]): IdList | undefined {
  const length = commonLength(payloadIds)
  if (length === 0 || length % 2 !== 0 || length >= MAX_ID_LENGTH) return undefined
  const bytes = packed(payloadIds.join(''))
  return bytes && { width: length / 2, count: payloadIds.length, bytes }
}

/** Packs lines of IDs, each ended by a line feed; `undefined` unless all are lower-case hex of one even length. */
export function packedLines(lines: Uint8Array): IdList | undefined {
  const length = lines.indexOf(LINE_FEED)
  const total = lines.byteLength
  const count = total / (length + 1)
  if (length <= 0 || length % 2 !== 0 || length >= MAX_ID_LENGTH || !Number.isInteger(count)) return undefined
  const bytes = Buffer.allocUnsafeSlow((count * length) / 2)
  let used = 0
  for (let at = 0; at < total; at++) {
    for (const end = at + length; at < end; at += 2) {
      const value = (HEX_VALUES[lines[at]!]! << 4) | HEX_VALUES[lines[at + 1]!]!
      if (value < 0) return undefined
      bytes[used++] = value
    }
    if (lines[at] !== LINE_FEED) return undefined
  }
  return { width: length / 2, count, bytes }
}

/** The IDs as strings. */
export function idsOf({ width, count, bytes }: IdList): string[] {
  if (width === 0) return bytes.toString('latin1', 0, Math.max(0, bytes.byteLength - 1)).split('\n').slice(0, count)
  const hex = bytes.toString('hex')
  return Array.from({ length: count }, (_, index) => hex.slice(2 * width * index, 2 * width * (index + 1)))
}

/** The IDs as lines, each ended by a line feed. */
export function linesOf(list: IdList): Buffer {
  return list.width === 0 || list.count === 0 ? list.bytes : Buffer.from(`${idsOf(list).join('\n')}\n`, 'latin1')
}

/** The first ID as a string. The list must not be empty. */
export function firstOf({ width, bytes }: IdList): string {
  return width === 0 ? bytes.toString('latin1', 0, bytes.indexOf(LINE_FEED)) : bytes.toString('hex', 0, width)
}

/** The IDs of a list that are kept. */
export function pickedFrom(list: IdList, isKept: readonly boolean[]): IdList {
  const { width, count, bytes } = list
  if (width === 0) return listOf(idsOf(list).filter((_, index) => isKept[index]))
  const picked = Buffer.allocUnsafeSlow(bytes.byteLength)
  let used = 0
  for (let index = 0; index < count; index++) if (isKept[index] === true) used = copyId(bytes, index * width, picked, used, width)
  return { width, count: used / width, bytes: picked.subarray(0, used) }
}

/** Copies one packed ID. Returns where the copy ends. For tens of bytes this is faster than calls that leave JavaScript. */
export function copyId(source: Uint8Array, from: number, target: Uint8Array, at: number, width: number): number {
  for (let index = 0; index < width; index++) target[at + index] = source[from + index] ?? 0
  return at + width
}

/** The length of all IDs; 0 when lengths differ. */
function commonLength(payloadIds: readonly string[]): number {
  const length = payloadIds[0]?.length ?? 0
  for (const payloadId of payloadIds) if (payloadId.length !== length) return 0
  return length
}

/** The bytes of lower-case hex; `undefined` for any other text. */
function packed(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'hex')
  if (bytes.byteLength * 2 !== text.length) return undefined
  // The decoder accepts capitals too, but they belong to another ID.
  return UPPER_CASE_DIGITS.some((digit) => text.includes(digit)) ? undefined : bytes
}
