/** Preamble and frames of format version 1: sizes, limits and encoding. */
import { crc32 } from 'node:zlib'

/** The format version that is written, and the newest that is read. */
export const FORMAT_VERSION = 1

export const MAGIC: Buffer = Buffer.from([0x89, 0x48, 0x46, 0x53, 0x0d, 0x0a, 0x1a, 0x0a])
/** magic 8 | version 2 | flags 2 | crc 4 */
export const PREAMBLE_BYTES = 16
/** stored length 4 | type 1 | codec 1 | section 2 | records 4 | raw length 4 | sequence 8 */
export const FRAME_HEADER_BYTES = 24
export const CRC_BYTES = 4

export const MAX_STORED_BYTES: number = 16 * 1024 * 1024
export const MAX_RAW_BYTES: number = 64 * 1024 * 1024
/** The limit of the header and the trailer frame. */
export const MAX_CONTROL_BYTES: number = 64 * 1024

export const FRAME_TYPES = { header: 1, data: 2, trailer: 3 } as const
export const CODECS = { none: 0, zstd: 1 } as const

export interface FrameHeader {
  readonly storedBytes: number
  readonly type: number
  readonly codec: number
  readonly section: number
  readonly records: number
  readonly rawBytes: number
  readonly sequence: bigint
}

/** Allocates a buffer that nothing else uses. */
export type Allocate = (bytes: number) => Buffer

/** Allocates one frame, whose content is then written in place. */
export function newFrame(contentBytes: number, allocate: Allocate = (bytes) => Buffer.allocUnsafeSlow(bytes)): Buffer {
  return allocate(FRAME_HEADER_BYTES + contentBytes + CRC_BYTES)
}

/** The content of a frame, as a view. */
export function contentOf(frame: Buffer): Buffer {
  return frame.subarray(FRAME_HEADER_BYTES, frame.byteLength - CRC_BYTES)
}

/** Writes header and CRC around the content of a frame. Returns the CRC. `crc` is that of the frame before. */
export function sealFrame(frame: Buffer, header: FrameHeader, crc: number): number {
  frame.writeUInt32LE(header.storedBytes, 0)
  frame.writeUInt8(header.type, 4)
  frame.writeUInt8(header.codec, 5)
  frame.writeUInt16LE(header.section, 6)
  frame.writeUInt32LE(header.records, 8)
  frame.writeUInt32LE(header.rawBytes, 12)
  frame.writeBigUInt64LE(header.sequence, 16)
  const sealed = crc32(frame.subarray(0, frame.byteLength - CRC_BYTES), crc)
  frame.writeUInt32LE(sealed, frame.byteLength - CRC_BYTES)
  return sealed
}

/** Encodes the preamble. Its CRC is the seed of the first frame's CRC. */
export function encodePreamble(): { readonly bytes: Buffer; readonly crc: number } {
  const bytes = Buffer.alloc(PREAMBLE_BYTES)
  MAGIC.copy(bytes)
  bytes.writeUInt16LE(FORMAT_VERSION, 8)
  bytes.writeUInt16LE(0, 10)
  const crc = crc32(bytes.subarray(0, PREAMBLE_BYTES - CRC_BYTES))
  bytes.writeUInt32LE(crc, PREAMBLE_BYTES - CRC_BYTES)
  return { bytes, crc }
}

export function decodeFrameHeader(bytes: Buffer): FrameHeader {
  return {
    storedBytes: bytes.readUInt32LE(0),
    type: bytes.readUInt8(4),
    codec: bytes.readUInt8(5),
    section: bytes.readUInt16LE(6),
    records: bytes.readUInt32LE(8),
    rawBytes: bytes.readUInt32LE(12),
    sequence: bytes.readBigUInt64LE(16),
  }
}
