/** The hash that Postgres gives as `hashtextextended(text COLLATE "C", 0)`: Bob Jenkins' lookup3, on machines whose lowest byte is first. */

const START: number = 0x9e3779b9 + 3923095
const BLOCK_BYTES = 12

/** 64 bits as two integers of 32, signed or not. */
export interface TextHash {
  readonly low: number
  readonly high: number
}

export function hashText(bytes: DataView, from: number, end: number): TextHash {
  let a = (START + end - from) | 0
  let b = a
  let c = a
  let at = from
  for (; at + BLOCK_BYTES <= end; at += BLOCK_BYTES) {
    a = (a + bytes.getInt32(at, true)) | 0
    b = (b + bytes.getInt32(at + 4, true)) | 0
    c = (c + bytes.getInt32(at + 8, true)) | 0
    a = (a - c) ^ ((c << 4) | (c >>> 28))
    c = (c + b) | 0
    b = (b - a) ^ ((a << 6) | (a >>> 26))
    a = (a + c) | 0
    c = (c - b) ^ ((b << 8) | (b >>> 24))
    b = (b + a) | 0
    a = (a - c) ^ ((c << 16) | (c >>> 16))
    c = (c + b) | 0
    b = (b - a) ^ ((a << 19) | (a >>> 13))
    a = (a + c) | 0
    c = (c - b) ^ ((b << 4) | (b >>> 28))
    b = (b + a) | 0
  }
  // The lowest byte of the last word is that of the length.
  a = (a + wordAt(bytes, at, Math.min(end, at + 4))) | 0
  b = (b + wordAt(bytes, at + 4, Math.min(end, at + 8))) | 0
  c = (c + (wordAt(bytes, at + 8, end) << 8)) | 0
  c = ((c ^ b) - ((b << 14) | (b >>> 18))) | 0
  a = ((a ^ c) - ((c << 11) | (c >>> 21))) | 0
  b = ((b ^ a) - ((a << 25) | (a >>> 7))) | 0
  c = ((c ^ b) - ((b << 16) | (b >>> 16))) | 0
  a = ((a ^ c) - ((c << 4) | (c >>> 28))) | 0
  b = ((b ^ a) - ((a << 14) | (a >>> 18))) | 0
  c = ((c ^ b) - ((b << 24) | (b >>> 8))) | 0
  return { low: c, high: b }
}

/** At most four bytes as one number; 0 when there are none. */
function wordAt(bytes: DataView, from: number, end: number): number {
  let word = 0
  for (let at = end - 1; at >= from; at--) word = (word << 8) | bytes.getUint8(at)
  return word
}
