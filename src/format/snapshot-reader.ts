/** Reads and checks a stream of format version 1. */
import { type Hash, createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import type { SnapshotSource, SnapshotSummary } from '../contracts/backupable.ts'
import { SIGNAL_OPTION, SOURCE } from '../contracts/checked-calls.ts'
import { isHoldfastError, RestoreCorruptError, SchemaVersionMismatchError } from '../errors/errors.ts'
import { checkArgument, checkOptions } from '../util/check-options.ts'
import { ByteReader } from './byte-reader.ts'
import { type Zstd, loadZstd } from './compression.ts'
import { decodeHeader, decodeTrailer, type SnapshotHeader, type SnapshotTrailer } from './header-trailer.ts'
import {
  CODECS, CRC_BYTES, decodeFrameHeader, FORMAT_VERSION, FRAME_HEADER_BYTES, FRAME_TYPES, type FrameHeader, MAGIC, MAX_CONTROL_BYTES, MAX_RAW_BYTES,
  MAX_STORED_BYTES, PREAMBLE_BYTES,
} from './frame.ts'
import { checkZstdFrame } from './zstd-frame.ts'

export { decodeRecords, type StoredRecord, type Value } from './records.ts'

/** One data frame, checked. */
export interface DataFrame {
  readonly sequence: number
  /** Where the frame begins in the stream. */
  readonly offset: number
  /** Index of its section in the header's list. */
  readonly section: number
  /** The number of its records, at least one. */
  readonly records: number
  /** The decompressed content. May be a view of the source's chunk: use it before reading the next frame. */
  readonly data: Uint8Array
}

/** The header and the frames of a stream, to be read once. */
export type FrameSource = Pick<SnapshotReader, 'header' | 'frames'>

/**
 * Reads a stream to its end, and rejects where a store of its kind would refuse to restore it. Resolves with the payload IDs that the
 * content refers to, where the content shows them.
 */
export type ContentCheck = (source: FrameSource) => Promise<SnapshotSummary['payloadIds'] | undefined>

export interface OpenSnapshotOptions {
  /** Checked before and after every read of the source. A source that can stall must watch the signal itself. */
  readonly signal?: AbortSignal | undefined
}

/** Bytes between two turns of the event loop: some milliseconds of work. */
const TURN_BYTES: number = 2 * 1024 * 1024
/** The work of a frame besides its bytes, counted in bytes. */
const FRAME_COST_BYTES = 4096

interface CheckedFrame {
  readonly header: FrameHeader
  readonly offset: number
  readonly data: Uint8Array
  /** SHA-256 of every byte before this frame; only for a trailer. */
  readonly sha256Before: string | undefined
}

/**
 * Reads preamble and header of a stream.
 * Throws `restore_corrupt` for a damaged stream, `schema_version_mismatch` for a newer format version, and what the source throws.
 */
export async function openSnapshot(source: SnapshotSource, options: OpenSnapshotOptions = {}): Promise<SnapshotReader> {
  checkArgument('openSnapshot', source, { name: 'source', kind: SOURCE })
  checkOptions('openSnapshot', options, SIGNAL_OPTION)
  const frames = new FrameReader(source, options.signal)
  try {
    await frames.readPreamble()
    const frame = await frames.next()
    if (frame.header.type !== FRAME_TYPES.header) throw fault(frame.offset, 0, 'the first frame is not a header')
    return new SnapshotReader(frames, decoded(frame, decodeHeader))
  } catch (error) {
    await frames.leave()
    throw error
  }
}

/** A stream whose header was read. Read `frames` once; `trailer` and `summary` are known at its end. */
export class SnapshotReader {
  readonly header: SnapshotHeader
  readonly #frames: FrameReader
  #trailer: SnapshotTrailer | undefined

  constructor(frames: FrameReader, header: SnapshotHeader) {
    this.#frames = frames
    this.header = header
  }

  /** The trailer; `undefined` until `frames` has ended. */
  get trailer(): SnapshotTrailer | undefined {
    return this.#trailer
  }

  /**
   * Yields the data frames, each checked. Throws `restore_corrupt` at the first fault.
   *
   * The end comes only after the trailer was checked against all frames and nothing follows. Until then the stream is not proven whole.
   */
  async *frames(): AsyncGenerator<DataFrame, void, undefined> {
    const counts = this.header.sections.map(() => 0)
    let section = 0
    try {
      for (;;) {
        const frame = await this.#frames.next()
        const sequence = Number(frame.header.sequence)
        if (frame.header.type === FRAME_TYPES.trailer) {
          this.#trailer = await this.#checkTrailer(frame, counts)
          return
        }
        if (frame.header.type !== FRAME_TYPES.data) throw fault(frame.offset, sequence, 'it is a second header')
        const counted = counts[frame.header.section]
        if (counted === undefined || frame.header.section < section) throw fault(frame.offset, sequence, 'its section is unknown or out of order')
        section = frame.header.section
        counts[section] = counted + frame.header.records
        yield { sequence, offset: frame.offset, section, records: frame.header.records, data: frame.data }
      }
    } catch (error) {
      await this.#frames.leave()
      throw error
    } finally {
      await this.#frames.close()
    }
  }

  /** The summary of the stream, as its writer made it. Throws a `TypeError` before `frames` has ended. */
  summary(): SnapshotSummary {
    const { header, trailer } = this
    if (trailer === undefined) throw new TypeError('The summary of a snapshot is not known before its frames were read')
    return {
      storeKind: header.storeKind,
      storeId: header.storeId,
      schemaVersion: header.schemaVersion,
      createdAtMs: header.createdAtMs,
      records: Object.fromEntries(header.sections.map((name, index) => [name, trailer.records[index] ?? 0])),
      payloadIds: trailer.payloadIds,
      bytes: this.#frames.bytes,
      sha256: this.#frames.sha256(),
      backupId: header.backupId,
      compression: this.#frames.hasCompressed ? 'zstd' : 'none',
    }
  }

  /** Closes the source. Idempotent; not needed when `frames` was read or left. */
  async close(): Promise<void> {
    await this.#frames.close()
  }

  async #checkTrailer(frame: CheckedFrame, counts: readonly number[]): Promise<SnapshotTrailer> {
    const sequence = Number(frame.header.sequence)
    const trailer = decoded(frame, decodeTrailer)
    if (trailer.frames !== sequence + 1) throw fault(frame.offset, sequence, `the trailer counts ${trailer.frames} frames, ${sequence + 1} were read`)
    if (trailer.records.length !== counts.length || trailer.records.some((records, index) => records !== counts[index])) {
      throw fault(frame.offset, sequence, `the trailer counts ${trailer.records.join(', ')} records, ${counts.join(', ')} were read`)
    }
    if (trailer.sha256 !== frame.sha256Before) throw fault(frame.offset, sequence, 'the SHA-256 of the stream is not the one in the trailer')
    await this.#frames.checkEnd()
    return trailer
  }
}

/** Frames in order, each with its lengths, sequence and CRC checked. */
class FrameReader {
  readonly #bytes: ByteReader
  readonly #signal: AbortSignal | undefined
  readonly #hash: Hash = createHash('sha256')
  #sha256: string | undefined
  #zstd: Zstd | undefined
  #sequence = 0
  #crc = 0
  #turnBytes = 0

  constructor(source: SnapshotSource, signal: AbortSignal | undefined) {
    this.#bytes = new ByteReader(source)
    this.#signal = signal
  }

  get bytes(): number {
    return this.#bytes.position
  }

  get hasCompressed(): boolean {
    return this.#zstd !== undefined
  }

  sha256(): string {
    return (this.#sha256 ??= this.#hash.digest('hex'))
  }

  async readPreamble(): Promise<void> {
    const bytes = await this.#read(PREAMBLE_BYTES)
    if (!bytes.subarray(0, MAGIC.byteLength).equals(MAGIC.subarray(0, bytes.byteLength))) throw fault(0, undefined, 'the stream does not begin like a snapshot')
    if (bytes.byteLength < PREAMBLE_BYTES) throw truncated(bytes.byteLength, undefined)
    const version = bytes.readUInt16LE(8)
    const crc = crc32(bytes.subarray(0, PREAMBLE_BYTES - CRC_BYTES))
    const intact = crc === bytes.readUInt32LE(PREAMBLE_BYTES - CRC_BYTES)
    // Believe a newer version only if the preamble is intact; otherwise it is damaged.
    if (intact && version > FORMAT_VERSION) {
      throw unsupported(`of format version ${version}`, `reads up to version ${FORMAT_VERSION}`, { expected: FORMAT_VERSION, actual: version })
    }
    if (!intact) throw fault(0, undefined, 'the CRC of the preamble does not match')
    if (version !== FORMAT_VERSION) throw fault(8, undefined, `format version ${version} does not exist`)
    const flags = bytes.readUInt16LE(10)
    if (flags !== 0) throw unsupported(`with features ${flags}`, 'reads none', { expected: 0, actual: flags })
    this.#hash.update(bytes)
    this.#crc = crc
  }

  async next(): Promise<CheckedFrame> {
    await this.#giveWay()
    this.#signal?.throwIfAborted()
    const offset = this.#bytes.position
    const headerBytes = await this.#readAll(FRAME_HEADER_BYTES)
    const header = decodeFrameHeader(headerBytes)
    this.#checkHeader(header, offset)
    const stored = await this.#readAll(header.storedBytes)
    const tail = await this.#readAll(CRC_BYTES)
    this.#crc = crc32(stored, crc32(headerBytes, this.#crc))
    if (tail.readUInt32LE() !== this.#crc) throw fault(offset, this.#sequence, 'its CRC does not match')
    const sha256Before = header.type === FRAME_TYPES.trailer ? this.#hash.copy().digest('hex') : undefined
    this.#hash.update(headerBytes).update(stored).update(tail)
    const data = header.codec === CODECS.none ? stored : await this.#decompress(header, stored, offset)
    this.#turnBytes += FRAME_COST_BYTES + header.storedBytes + header.rawBytes
    this.#sequence++
    return { header, offset, data, sha256Before }
  }

  async checkEnd(): Promise<void> {
    if (!(await this.#guard(this.#bytes.atEnd()))) throw fault(this.#bytes.position, undefined, 'bytes follow the trailer')
  }

  async close(): Promise<void> {
    await this.#bytes.close()
  }

  /** Closes the source after a failure, and ignores a failure to close, as `for await` does. */
  async leave(): Promise<void> {
    await this.#bytes.close().catch(() => undefined)
  }

  /** Gives way to the event loop, which reads of bytes already in memory do not do. */
  async #giveWay(): Promise<void> {
    if (this.#turnBytes < TURN_BYTES) return
    this.#turnBytes = 0
    await setImmediate()
  }

  #checkHeader(header: FrameHeader, offset: number): void {
    const wrong = (what: string): RestoreCorruptError => fault(offset, this.#sequence, what)
    const isData = header.type === FRAME_TYPES.data
    if (!isData && header.type !== FRAME_TYPES.header && header.type !== FRAME_TYPES.trailer) throw wrong(`its frame type ${header.type} is unknown`)
    if (header.codec !== CODECS.none && !(isData && header.codec === CODECS.zstd)) throw wrong(`its codec ${header.codec} is unknown or not allowed`)
    if (header.sequence !== BigInt(this.#sequence)) throw wrong(`it has sequence number ${header.sequence}`)
    const [storedLimit, rawLimit] = isData ? [MAX_STORED_BYTES, MAX_RAW_BYTES] : [MAX_CONTROL_BYTES, MAX_CONTROL_BYTES]
    if (header.storedBytes > storedLimit || header.rawBytes > rawLimit) {
      throw wrong(`its lengths, ${header.storedBytes} and ${header.rawBytes}, are beyond the limits`)
    }
    if (header.codec === CODECS.none && header.storedBytes !== header.rawBytes) throw wrong('its lengths differ though it is not compressed')
    // Empty frames would let a short stream keep a reader busy forever.
    if (header.rawBytes === 0 || header.storedBytes === 0) throw wrong('it is empty')
    if (isData && header.records === 0) throw wrong('it does not have a record')
    if (!isData && (header.section !== 0 || header.records !== 0)) throw wrong('it names a section or records')
  }

  async #decompress(header: FrameHeader, stored: Buffer, offset: number): Promise<Uint8Array> {
    try {
      checkZstdFrame(stored, header.rawBytes)
      this.#zstd ??= await loadZstd('read')
      const raw = this.#zstd.decompress(stored, header.rawBytes)
      if (raw.byteLength !== header.rawBytes) throw new TypeError(`it decompresses to ${raw.byteLength} bytes, not ${header.rawBytes}`)
      return raw
    } catch (error) {
      if (isHoldfastError(error)) throw error
      throw fault(offset, this.#sequence, error instanceof TypeError ? error.message : 'it cannot be decompressed', error)
    }
  }

  async #readAll(length: number): Promise<Buffer> {
    const bytes = await this.#read(length)
    if (bytes.byteLength < length) throw truncated(this.#bytes.position, this.#sequence)
    return bytes
  }

  async #read(length: number): Promise<Buffer> {
    return await this.#guard(this.#bytes.read(length))
  }

  /** Rejects with the signal's reason if the signal aborted during the read. */
  async #guard<T>(reading: Promise<T>): Promise<T> {
    const result = await reading
    this.#signal?.throwIfAborted()
    return result
  }
}

function decoded<T>(frame: CheckedFrame, decode: (bytes: Uint8Array) => T): T {
  try {
    return decode(frame.data)
  } catch (error) {
    const reason = error instanceof TypeError ? error.message : 'its content is not CBOR'
    throw fault(frame.offset, Number(frame.header.sequence), reason, error)
  }
}

function fault(offset: number, frame: number | undefined, what: string, cause?: unknown): RestoreCorruptError {
  const where = frame === undefined ? `byte ${offset}` : `frame ${frame} at byte ${offset}`
  return new RestoreCorruptError(`Cannot read the snapshot at ${where}: ${what}`, { offset, frame, cause })
}

function unsupported(what: string, reads: string, details: { readonly expected: number; readonly actual: number }): SchemaVersionMismatchError {
  return new SchemaVersionMismatchError(`Cannot read a snapshot ${what}: this release ${reads}`, {
    hint: 'Use a newer version of Holdfast to read this snapshot',
    details,
  })
}

function truncated(offset: number, frame: number | undefined): RestoreCorruptError {
  return fault(offset, frame, 'the stream ends too early')
}
