/**
 * Streams made to hurt their reader: every CRC and sequence number is right, and what they say is not. They are made as they are
 * read, so that all memory that is taken is the reader's.
 */
import * as zlib from 'node:zlib'
import type { SnapshotSource } from '../../src/contracts/backupable.ts'
import { isFull } from '../support/seed.ts'
import { type Frame, frames, preamble } from '../support/stream-surgery.ts'
import { writeStream } from '../support/streams.ts'

export const TINY_FRAMES: number = isFull ? 1_000_000 : 200_000
export const CHUNK_BYTES: number = 64 * 1024

const MIB = 1024 * 1024
/** Of zstd, at most. */
const BLOCK_BYTES = 128 * 1024
const FRAME_HEADER_BYTES = 24
const CRC_BYTES = 4

const { bytes } = await writeStream([{ section: 0, records: [['key', 'value']] }], { storeKind: 'level', sections: ['entries'] })
const [HEADER, DATA] = frames(bytes) as [Frame, Frame]

/** What is refused at its first frame that is wrong; zeros without end follow where nothing else is said. */
export const REFUSED: Readonly<Record<string, () => SnapshotSource>> = {
  'a stored length of 0': () => second({ storedBytes: 0 }),
  'a stored length of 2^31': () => second({ storedBytes: 2 ** 31 }),
  'a stored length of 2^32 - 1': () => second({ storedBytes: 2 ** 32 - 1 }),
  'a stored length one over the limit': () => second({ storedBytes: 16 * MIB + 1 }),
  'a raw length of 2^32 - 1': () => second({ codec: 1, rawBytes: 2 ** 32 - 1 }),
  'a header of 2^32 - 1 bytes': () => stream([{ ...HEADER, storedBytes: 2 ** 32 - 1 }]),
  'a header one over the limit': () => stream([{ ...HEADER, storedBytes: 64 * 1024 + 1 }]),
  'a header of arrays in arrays': () => stream([{ ...HEADER, stored: Buffer.alloc(60_000, 0x81) }]),
  '16 MiB that never come': () => stream([HEADER, { storedBytes: 16 * MIB }], []),
  'a count of 0 records': () => second({ records: 0 }),
  'a count of 2^31 records': () => second({ records: 2 ** 31 }),
  'a count of 2^32 - 1 records': () => second({ records: 2 ** 32 - 1 }),
  'one record more than it has': () => second({ records: 2 }),
  'a column of 2^32 - 1 bytes': () => second({ stored: hex('84 5a ffffffff 00000000') }),
  'a column of 2^53 bytes': () => second({ stored: hex('84 5b 0020000000000000 00000000') }),
  'a column of 2^64 - 1 bytes': () => second({ stored: hex('84 5b ffffffffffffffff 00000000') }),
  'a negative length': () => second({ stored: hex('84 38 00 61 6b') }),
  'a length in a form that there is not': () => second({ stored: hex('84 5c 0000000000000001 00') }),
  'an array of 2^32 - 1 columns': () => second({ stored: hex('9a ffffffff 44 01000000 61 6b') }),
  'a key of 2^32 - 1 bytes': () => second({ stored: hex('84 44 ffffffff 61 6b 44 01000000 61 76') }),
}

/** What needs zstd to be read as far as its fault. */
export const BOMBS: Readonly<Record<string, () => SnapshotSource>> = {
  'a bomb of 256 MiB whose frame claims 1 MiB': () => second({ codec: 1, stored: bomb(256 * MIB), rawBytes: MIB }),
  'a bomb of 256 MiB that claims 1 MiB in both places': () => second({ codec: 1, stored: bomb(256 * MIB, MIB), rawBytes: MIB }),
  'a bomb of 16 MiB that claims 16 MiB and one byte': () => second({ codec: 1, stored: bomb(16 * MIB), rawBytes: 16 * MIB + 1 }),
  'a bomb of 16 MiB that claims one byte more in both places': () => second({ codec: 1, stored: bomb(16 * MIB, 16 * MIB + 1), rawBytes: 16 * MIB + 1 }),
}

/** Ends without a trailer, after a million frames of one record. */
export function tinyFrames(): SnapshotSource {
  return stream(headed(times(TINY_FRAMES, () => DATA)), [])
}

/** A record in each frame, with ascending keys, without end. */
export function endlessRecords(): SnapshotSource {
  return stream(headed(times(Infinity, (index) => record(String(index).padStart(16, '0')))))
}

/** Each frame is 64 MiB of zeros in a few kilobytes, without end: what a compressed stream may be at most. */
export function endlessBombs(): SnapshotSource {
  const stored = bomb(64 * MIB)
  return stream(headed(times(Infinity, () => ({ ...DATA, codec: 1, stored, rawBytes: 64 * MIB }))))
}

/** Two records, each with a key that takes nearly all a frame may hold, and no trailer. */
export function hugeKeys(): SnapshotSource {
  return stream([HEADER, record('k'.repeat(15 * MIB)), record('l'.repeat(15 * MIB))], [])
}

/** The chunks of a file: of one size, each once there is enough for it. */
export async function* chunked(source: SnapshotSource, onChunk: () => void): AsyncGenerator<Uint8Array, void, undefined> {
  let parts: Uint8Array[] = []
  let length = 0
  const joined = (): Uint8Array => {
    onChunk()
    const chunk = Buffer.concat(parts)
    parts = []
    length = 0
    return chunk
  }
  for await (const piece of source) {
    parts.push(piece)
    length += piece.byteLength
    if (length >= CHUNK_BYTES) yield joined()
  }
  yield joined()
}

/** A header, then this in place of the data frame. */
function second(change: Partial<Frame>): SnapshotSource {
  return stream([HEADER, change])
}

async function* stream(list: Iterable<Partial<Frame>>, rest: Iterable<Uint8Array> = times(Infinity, () => new Uint8Array(CHUNK_BYTES))): AsyncGenerator<Uint8Array, void, undefined> {
  const head = preamble()
  let crc = zlib.crc32(head.subarray(0, 12))
  let sequence = 0n
  yield head
  for (const change of list) {
    const sealed = seal({ ...DATA, ...change, sequence: sequence++ }, change.rawBytes)
    crc = zlib.crc32(sealed.subarray(0, -CRC_BYTES), crc)
    sealed.writeUInt32LE(crc, sealed.byteLength - CRC_BYTES)
    yield sealed
  }
  yield* rest
}

function seal({ type, codec, section, records, sequence, stored, storedBytes = stored.byteLength }: Frame, rawBytes = storedBytes): Buffer {
  const sealed = Buffer.allocUnsafe(FRAME_HEADER_BYTES + stored.byteLength + CRC_BYTES)
  sealed.writeUInt32LE(storedBytes, 0)
  sealed.writeUInt8(type, 4)
  sealed.writeUInt8(codec, 5)
  sealed.writeUInt16LE(section, 6)
  sealed.writeUInt32LE(records, 8)
  sealed.writeUInt32LE(rawBytes, 12)
  sealed.writeBigUInt64LE(sequence, 16)
  sealed.set(stored, FRAME_HEADER_BYTES)
  return sealed
}

function* headed(list: Iterable<Partial<Frame>>): Generator<Partial<Frame>, void, undefined> {
  yield HEADER
  yield* list
}

function* times<T>(length: number, make: (index: number) => T): Generator<T, void, undefined> {
  for (let index = 0; index < length; index++) yield make(index)
}

/** A data frame of one record with no value. */
function record(key: string): Partial<Frame> {
  const head = (type: number, length: number): Buffer => {
    const bytes = Buffer.alloc(5, type)
    bytes.writeUInt32BE(length, 1)
    return bytes
  }
  const keyBytes = Buffer.alloc(4)
  keyBytes.writeUInt32LE(key.length)
  return { stored: Buffer.concat([hex('84'), head(0x5a, 4), keyBytes, head(0x7a, key.length), Buffer.from(key), hex('44 00000000 60')]) }
}

/** A zstd frame of so many zeros in a few kilobytes: each of its blocks repeats one byte. */
function bomb(rawBytes: number, claimed: number = rawBytes): Buffer {
  const head = Buffer.from(hex('28b52ffd a0 00000000'))
  head.writeUInt32LE(claimed, 5)
  const blocks = Buffer.alloc((4 * rawBytes) / BLOCK_BYTES)
  for (let at = 0; at < blocks.byteLength; at += 4) blocks.writeUIntLE((BLOCK_BYTES << 3) | 2 | Number(at + 4 === blocks.byteLength), at, 3)
  return Buffer.concat([head, blocks])
}

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex')
}
