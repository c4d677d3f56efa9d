/** The beginning of a payload ID as one number: what is less is less as text. */

/** So many bytes a double holds exactly. */
export const KEY_BYTES = 6
const KEY_DIGITS = 2 * KEY_BYTES
const [ZERO, NINE, LOWER_A, LOWER_F] = [0x30, 0x39, 0x61, 0x66]

/** The first bytes of a packed ID that has so many from there; what is missing counts as 0. */
export function keyAt(bytes: Uint8Array, at: number, length: number): number {
  if (length >= KEY_BYTES) {
    const high = ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number)
    const low = ((bytes[at + 3] as number) << 16) | ((bytes[at + 4] as number) << 8) | (bytes[at + 5] as number)
    return high * 0x1000000 + low
  }
  let key = 0
  for (let index = 0; index < KEY_BYTES; index++) key = key * 256 + (index < length ? (bytes[at + index] as number) : 0)
  return key
}

/** The key of an ID that is text; `undefined` where it does not begin with enough lower-case hex. */
export function keyOfText(payloadId: string): number | undefined {
  if (payloadId.length < KEY_DIGITS) return undefined
  const high = hexAt(payloadId, 0)
  const low = hexAt(payloadId, KEY_DIGITS / 2)
  return high < 0 || low < 0 ? undefined : high * 0x1000000 + low
}

/** How a packed ID of so many bytes compares to text that begins with the same key, as `keyOfText` has it. */
export function compareFromKey(bytes: Uint8Array, at: number, { width, text }: { readonly width: number; readonly text: string }): number {
  for (let index = KEY_BYTES; index < width; index++) {
    const byte = bytes[at + index] as number
    const order = digitCode(byte >> 4) - codeAt(text, 2 * index) || digitCode(byte & 15) - codeAt(text, 2 * index + 1)
    if (order !== 0) return order
  }
  return 2 * width - text.length
}

function digitCode(digit: number): number {
  return digit < 10 ? ZERO + digit : LOWER_A + digit - 10
}

/** Less than any character where the text has ended. */
function codeAt(text: string, index: number): number {
  return index < text.length ? text.charCodeAt(index) : -1
}

/** Six digits as a number, or -1. */
function hexAt(text: string, from: number): number {
  let number = 0
  for (let index = from; index < from + KEY_DIGITS / 2; index++) {
    const code = text.charCodeAt(index)
    if (code >= ZERO && code <= NINE) number = number * 16 + code - ZERO
    else if (code >= LOWER_A && code <= LOWER_F) number = number * 16 + code - LOWER_A + 10
    else return -1
  }
  return number
}
