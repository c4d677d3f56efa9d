/** Checks the outer form of a zstd frame (RFC 8878, section 3.1.1) without decompressing it. */

const MAGIC = 0xfd2fb528
/** The largest window of a decoder, which is also the most that a frame decompresses to. */
const MAX_WINDOW_BYTES: number = 64 * 1024 * 1024
const BLOCK_HEADER_BYTES = 3
const BLOCK_TYPES = { rle: 1, reserved: 3 } as const
const CHECKSUM_BYTES = 4
/** The most that a block holds, compressed or not: RFC 8878, section 3.1.1.2.4. A smaller window lowers it. */
const MAX_BLOCK_BYTES: number = 128 * 1024

/**
 * Checks that the bytes are exactly one frame, without a dictionary, that claims to decompress to `rawBytes`.
 * So a decoder never allocates more than that. Throws a `TypeError` that says what is wrong.
 */
export function checkZstdFrame(bytes: Buffer, rawBytes: number): void {
  if (bytes.byteLength < 6 || bytes.readUInt32LE(0) !== MAGIC) throw new TypeError('its content does not begin like a zstd frame')
  const descriptor = bytes.readUInt8(4)
  const isSingleSegment = (descriptor & 0x20) !== 0
  if ((descriptor & 0x08) !== 0) throw new TypeError('its zstd frame sets a reserved bit')
  if ((descriptor & 0x03) !== 0) throw new TypeError('its zstd frame needs a dictionary')
  if (!isSingleSegment && windowBytes(bytes.readUInt8(5)) > MAX_WINDOW_BYTES) throw new TypeError('its zstd frame has a window beyond the limit')
  const sizeAt = isSingleSegment ? 5 : 6
  const sizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0
  const blocksAt = sizeAt + sizeBytes
  if (blocksAt > bytes.byteLength) throw new TypeError('its zstd frame ends too early')
  if (sizeBytes === 0) throw new TypeError('its zstd frame does not name its size')
  const size = sizeBytes === 8 ? bytes.readBigUInt64LE(sizeAt) : BigInt(bytes.readUIntLE(sizeAt, sizeBytes) + (sizeBytes === 2 ? 256 : 0))
  if (size !== BigInt(rawBytes)) throw new TypeError(`its zstd frame holds ${size} bytes, not ${rawBytes}`)
  const window = isSingleSegment ? rawBytes : windowBytes(bytes.readUInt8(5))
  const end = endOfBlocks(bytes, blocksAt, Math.min(window, MAX_BLOCK_BYTES)) + ((descriptor & 0x04) !== 0 ? CHECKSUM_BYTES : 0)
  if (end > bytes.byteLength) throw new TypeError('its zstd frame ends too early')
  if (end < bytes.byteLength) throw new TypeError('bytes follow its zstd frame')
}

function windowBytes(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3))
  return base + (base / 8) * (descriptor & 7)
}

function endOfBlocks(bytes: Buffer, start: number, maxBlockBytes: number): number {
  for (let at = start; ; ) {
    if (at + BLOCK_HEADER_BYTES > bytes.byteLength) throw new TypeError('its zstd frame ends too early')
    const header = bytes.readUIntLE(at, BLOCK_HEADER_BYTES)
    const type = (header >> 1) & 3
    if (type === BLOCK_TYPES.reserved) throw new TypeError('its zstd frame has a block of a reserved type')
    if (header >> 3 > maxBlockBytes) throw new TypeError('its zstd frame has a block beyond the limit')
    at += BLOCK_HEADER_BYTES + (type === BLOCK_TYPES.rle ? 1 : header >> 3)
    if ((header & 1) !== 0) return at
  }
}
