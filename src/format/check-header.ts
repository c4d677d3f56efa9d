/** Checks the header of a stream before a store takes the stream. */
import { crc32 } from 'node:zlib'
import type { SnapshotSource } from '../contracts/backupable.ts'
import { CRC_BYTES, FRAME_HEADER_BYTES, MAX_CONTROL_BYTES, PREAMBLE_BYTES } from './frame.ts'
import { type SnapshotHeader, decodeHeader } from './header-trailer.ts'

const HEADER_AT = PREAMBLE_BYTES + FRAME_HEADER_BYTES

/**
 * Yields the same bytes, after `check` has seen the header. If `check` throws, nothing is yielded.
 * A stream with a damaged header passes unchecked: its reader refuses it.
 */
export async function* checkHeader(source: SnapshotSource, check: (header: SnapshotHeader) => void): AsyncGenerator<Uint8Array, void, undefined> {
  let begun: Uint8Array[] | undefined = []
  for await (const chunk of source) {
    if (begun === undefined) {
      yield chunk
      continue
    }
    begun.push(chunk)
    const bytes = Buffer.concat(begun)
    const header = headerOf(bytes)
    if (header === 'incomplete') continue
    if (header !== undefined) check(header)
    begun = undefined
    yield bytes
  }
  if (begun !== undefined) yield* begun
}

function headerOf(bytes: Buffer): SnapshotHeader | 'incomplete' | undefined {
  if (bytes.byteLength < HEADER_AT) return 'incomplete'
  const end = HEADER_AT + bytes.readUInt32LE(PREAMBLE_BYTES)
  if (end > HEADER_AT + MAX_CONTROL_BYTES) return undefined
  if (bytes.byteLength < end + CRC_BYTES) return 'incomplete'
  const crc = crc32(bytes.subarray(PREAMBLE_BYTES, end), crc32(bytes.subarray(0, PREAMBLE_BYTES - CRC_BYTES)))
  if (crc !== bytes.readUInt32LE(end)) return undefined
  try {
    return decodeHeader(bytes.subarray(HEADER_AT, end))
  } catch (error) {
    if (error instanceof TypeError) return undefined
    throw error
  }
}
