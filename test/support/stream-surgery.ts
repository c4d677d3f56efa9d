/** Takes framed streams apart and puts them together again, by the offsets of FORMAT.md and nothing of the sources. */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { decode, encode } from 'cbor-x'

const PREAMBLE_BYTES = 16
const HEADER_BYTES = 24
const CRC_BYTES = 4
const TRAILER = 3

export interface Frame {
  /** As declared, where it is not the length of `stored`. */
  readonly storedBytes?: number | undefined
  readonly type: number
  readonly codec: number
  readonly section: number
  readonly records: number
  readonly rawBytes: number
  readonly sequence: bigint
  readonly stored: Buffer
}

/** The preamble and each frame, as they are. */
export function pieces(stream: Buffer): Buffer[] {
  const found = [stream.subarray(0, PREAMBLE_BYTES)]
  for (let start = PREAMBLE_BYTES; start < stream.byteLength; ) {
    const end = start + HEADER_BYTES + stream.readUInt32LE(start) + CRC_BYTES
    found.push(stream.subarray(start, end))
    start = end
  }
  return found
}

/** Where each frame starts. */
export function frameStarts(stream: Buffer): number[] {
  let start = 0
  return pieces(stream).map((piece) => (start += piece.byteLength)).slice(0, -1)
}

export function frames(stream: Buffer): Frame[] {
  return pieces(stream)
    .slice(1)
    .map((piece) => ({
      type: piece.readUInt8(4),
      codec: piece.readUInt8(5),
      section: piece.readUInt16LE(6),
      records: piece.readUInt32LE(8),
      rawBytes: piece.readUInt32LE(12),
      sequence: piece.readBigUInt64LE(16),
      stored: piece.subarray(HEADER_BYTES, -CRC_BYTES),
    }))
}

/** A stream of these frames whose CRCs are right, and the trailer's SHA-256 too unless `keepDigest`: only what they say may be wrong. */
export function sealed(list: readonly Frame[], { keepDigest = false }: { readonly keepDigest?: boolean } = {}): Buffer {
  const head = preamble()
  const parts = [head]
  let crc = crc32(head.subarray(0, 12))
  for (const frame of list) {
    const isTrailer = frame.type === TRAILER && !keepDigest
    const { storedBytes, stored, rawBytes } = isTrailer ? withContent(frame, { ...contentOf(frame), sha256: sha256(parts) }) : frame
    const header = Buffer.alloc(HEADER_BYTES)
    header.writeUInt32LE(storedBytes ?? stored.byteLength, 0)
    header.writeUInt8(frame.type, 4)
    header.writeUInt8(frame.codec, 5)
    header.writeUInt16LE(frame.section, 6)
    header.writeUInt32LE(frame.records, 8)
    header.writeUInt32LE(rawBytes, 12)
    header.writeBigUInt64LE(frame.sequence, 16)
    crc = crc32(stored, crc32(header, crc))
    const tail = Buffer.alloc(CRC_BYTES)
    tail.writeUInt32LE(crc)
    parts.push(header, stored, tail)
  }
  return Buffer.concat(parts)
}

/** A preamble whose CRC is right. */
export function preamble({ version = 1, flags = 0 }: { readonly version?: number; readonly flags?: number } = {}): Buffer {
  const bytes = Buffer.from('89484653 0d0a1a0a 0000 0000 00000000'.replaceAll(' ', ''), 'hex')
  bytes.writeUInt16LE(version, 8)
  bytes.writeUInt16LE(flags, 10)
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 12)), 12)
  return bytes
}

/** The fields of a control frame. */
export function contentOf(frame: Frame): Record<string, unknown> {
  return decode(frame.stored) as Record<string, unknown>
}

/** The same frame with other content, which cbor-x encodes unless it is bytes. */
export function withContent(frame: Frame, content: unknown): Frame {
  const stored: Buffer = Buffer.isBuffer(content) ? content : encode(content)
  return { ...frame, stored, rawBytes: stored.byteLength }
}

/** The list with one frame changed. */
export function changed(list: readonly Frame[], index: number, change: Partial<Frame> | ((frame: Frame) => Frame)): Frame[] {
  return list.map((frame, at) => (at !== index ? frame : typeof change === 'function' ? change(frame) : { ...frame, ...change }))
}

/** The list with sequence numbers as they should be. */
export function numbered(list: readonly Frame[]): Frame[] {
  return list.map((frame, index) => ({ ...frame, sequence: BigInt(index) }))
}

export function flipped(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7))
  return copy
}

function sha256(parts: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}
