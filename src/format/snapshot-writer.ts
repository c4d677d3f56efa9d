/** Writes a stream of format version 1. */
import { type Hash, createHash } from 'node:crypto'
import { BACKUP_CONTENTS, type BackupContent, COMPRESSIONS, type Compression, type SnapshotSink, type SnapshotSummary, type StoreKind } from '../contracts/backupable.ts'
import { InternalError } from '../errors/errors.ts'
import { type Zstd, loadZstd } from './compression.ts'
import { decodeHeader, decodeTrailer, encodeHeader, encodeTrailer } from './header-trailer.ts'
import { CODECS, contentOf, encodePreamble, FRAME_TYPES, MAX_RAW_BYTES, MAX_STORED_BYTES, newFrame, sealFrame } from './frame.ts'
import { type Kind, NUMBER, type OptionKinds, STRING, checkArgument, checkOptions, has, listOf, oneOf, optional } from '../util/check-options.ts'
import { encodeRecords, type StoredRecord } from './records.ts'

export interface SnapshotWriterOptions {
  /** The backup that the stream belongs to. @default the stream does not name one */
  readonly backupId?: string | undefined
  readonly storeKind: StoreKind
  readonly storeId: string
  readonly schemaVersion: number
  /** Names of the sections, in the order of their frames. */
  readonly sections: readonly string[]
  /** When the read view was opened, milliseconds since 1970. */
  readonly createdAtMs: number
  /** What the data frames hold, for the manifest; the stream does not say it. @default 'records' */
  readonly content?: BackupContent | undefined
  /** @default 'none' */
  readonly compress?: Compression | undefined
}

const SINK: Kind = has<SnapshotSink>('a sink', 'write', 'finish')
const OPTIONS: OptionKinds<SnapshotWriterOptions> = {
  backupId: optional(STRING),
  storeKind: STRING,
  storeId: STRING,
  schemaVersion: NUMBER,
  sections: listOf(STRING, 'names'),
  createdAtMs: NUMBER,
  content: optional(oneOf(BACKUP_CONTENTS)),
  compress: optional(oneOf(COMPRESSIONS)),
}

/**
 * Writes records as a stream: `start`, then data section by section, then `finish`. One call at a time.
 * After an error, also one of the sink, the stream cannot be used.
 */
export class SnapshotWriter {
  readonly #sink: SnapshotSink
  readonly #options: SnapshotWriterOptions
  readonly #hash: Hash = createHash('sha256')
  readonly #counts: number[]
  #zstd: Zstd | undefined
  #hasCompressed = false
  #crc = 0
  #sequence = 0
  #section = 0
  #bytes = 0
  #records = 0

  constructor(sink: SnapshotSink, options: SnapshotWriterOptions) {
    checkArgument('SnapshotWriter', sink, { name: 'sink', kind: SINK })
    checkOptions('SnapshotWriter', options, OPTIONS)
    this.#sink = sink
    this.#options = { ...options, sections: [...options.sections] }
    this.#counts = options.sections.map(() => 0)
  }

  /** Bytes given to the sink so far. */
  get bytes(): number {
    return this.#bytes
  }

  /** Records written so far. */
  get records(): number {
    return this.#records
  }

  /** Writes preamble and header. First throws a `TypeError` for options that readers refuse, `backup_unsupported` if there is no codec. */
  async start(): Promise<void> {
    const header = encodeHeader(this.#options)
    decodeHeader(header)
    if (this.#options.compress === 'zstd') this.#zstd = await loadZstd('write')
    const { bytes, crc } = encodePreamble()
    this.#crc = crc
    await this.#emit(bytes)
    await this.#writeControl(FRAME_TYPES.header, header)
  }

  /** Writes one data frame of key-value records, unless there are none. Throws a `RangeError` when they encode to more than 64 MiB. */
  async writeRecords(section: number, records: readonly StoredRecord[]): Promise<void> {
    if (records.length > 0) await this.writeFrame(section, encodeRecords(records), records.length)
  }

  /** Writes one data frame of an archive, of at most 64 MiB. `records` is the number of its records, at least one. */
  async writeRaw(section: number, raw: Uint8Array, records: number): Promise<void> {
    const frame = newFrame(raw.byteLength)
    contentOf(frame).set(raw)
    await this.writeFrame(section, frame, records)
  }

  /** Writes one data frame that was made with `newFrame` and filled. The sink owns the frame afterwards. */
  async writeFrame(section: number, frame: Buffer, records: number): Promise<void> {
    const counted = this.#counts[section]
    if (!Number.isInteger(records) || records < 1 || contentOf(frame).byteLength === 0) {
      throw new RangeError(`A frame holds at least one record; this one has ${records}`)
    }
    if (counted === undefined || section < this.#section) throw new InternalError(`Cannot write section ${section} after section ${this.#section}`)
    this.#section = section
    this.#counts[section] = counted + records
    this.#records += records
    await this.#write({ type: FRAME_TYPES.data, section, records }, frame)
  }

  /** Writes the trailer and gives the sink the summary. Throws a `TypeError` for a malformed digest. */
  async finish(payloadIds: { readonly count: number; readonly digest: string }): Promise<SnapshotSummary> {
    const sha256 = this.#hash.copy().digest('hex')
    const trailer = encodeTrailer({ frames: this.#sequence + 1, records: this.#counts, payloadIds, sha256 })
    decodeTrailer(trailer)
    await this.#writeControl(FRAME_TYPES.trailer, trailer)
    const { backupId, storeKind, storeId, schemaVersion, sections, createdAtMs, content = 'records' } = this.#options
    const summary: SnapshotSummary = {
      storeKind,
      storeId,
      schemaVersion,
      content,
      createdAtMs,
      records: Object.fromEntries(sections.map((name, index) => [name, this.#counts[index] ?? 0])),
      payloadIds: { count: payloadIds.count, digest: payloadIds.digest },
      bytes: this.#bytes,
      sha256: this.#hash.digest('hex'),
      backupId,
      compression: this.#hasCompressed ? 'zstd' : 'none',
    }
    await this.#sink.finish(summary)
    return summary
  }

  async #writeControl(type: number, content: Buffer): Promise<void> {
    const frame = newFrame(content.byteLength)
    content.copy(contentOf(frame))
    await this.#write({ type, section: 0, records: 0 }, frame)
  }

  async #write(header: { readonly type: number; readonly section: number; readonly records: number }, raw: Buffer): Promise<void> {
    const zstd = header.type === FRAME_TYPES.data ? this.#zstd : undefined
    const packed = zstd === undefined ? raw : compressed(raw, zstd)
    // What cannot be compressed grows, and would not fit where it fits as it is.
    const stored = contentOf(packed).byteLength > MAX_STORED_BYTES ? raw : packed
    const codec = stored === raw ? CODECS.none : CODECS.zstd
    this.#hasCompressed ||= stored !== raw
    const [rawBytes, storedBytes] = [contentOf(raw).byteLength, contentOf(stored).byteLength]
    if (rawBytes > MAX_RAW_BYTES || storedBytes > MAX_STORED_BYTES) {
      throw new RangeError(`A frame holds at most ${MAX_STORED_BYTES} bytes as stored and ${MAX_RAW_BYTES} raw; this one has ${storedBytes} and ${rawBytes}`)
    }
    this.#crc = sealFrame(stored, { ...header, codec, storedBytes, rawBytes, sequence: BigInt(this.#sequence) }, this.#crc)
    this.#sequence++
    await this.#emit(stored)
  }

  async #emit(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes)
    this.#bytes += bytes.byteLength
    await this.#sink.write(bytes)
  }
}

function compressed(raw: Buffer, zstd: Zstd): Buffer {
  const content = zstd.compress(contentOf(raw))
  const frame = newFrame(content.byteLength)
  contentOf(frame).set(content)
  return frame
}
