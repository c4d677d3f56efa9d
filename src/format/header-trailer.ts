/** The header and the trailer frame: CBOR maps of named fields. Readers ignore fields that they do not know. */
import { encode } from 'cbor-x'
import type { StoreKind } from '../contracts/backupable.ts'
import { CborReader } from './cbor-reader.ts'

/** The first frame. */
export interface SnapshotHeader {
  /** The backup that the stream belongs to. Streams of release 0.1.0 do not name it. */
  readonly backupId?: string | undefined
  readonly storeKind: StoreKind
  readonly storeId: string
  readonly schemaVersion: number
  /** Section names. A data frame names its section by index. */
  readonly sections: readonly string[]
  readonly createdAtMs: number
}

/** The last frame. */
export interface SnapshotTrailer {
  /** The number of frames, header and trailer included. */
  readonly frames: number
  /** Records per section, in the header's order. */
  readonly records: readonly number[]
  readonly payloadIds: { readonly count: number; readonly digest: string }
  /** SHA-256 of every byte before the trailer frame, lower-case hex. */
  readonly sha256: string
}

export const FORMAT_NAME = 'holdfast-snapshot'
export const MAX_SECTIONS = 256
/** The form of store kinds and section names. */
export const NAME: RegExp = /^[a-z][a-z0-9-]{0,31}$/
/** A ULID in capitals. */
const BACKUP_ID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/
export const STORE_ID: RegExp = /^[\x21-\x7e]{1,128}$/

const SHA256_BYTES = 32

export function encodeHeader(header: SnapshotHeader): Buffer {
  const { backupId, storeKind, storeId, schemaVersion, sections, createdAtMs } = header
  const named = backupId === undefined ? {} : { backupId }
  return encode({ format: FORMAT_NAME, ...named, storeKind, storeId, schemaVersion: BigInt(schemaVersion), sections, createdAtMs: BigInt(createdAtMs) })
}

/** Decodes a header. Throws a `TypeError` that names the field at fault. */
export function decodeHeader(bytes: Uint8Array): SnapshotHeader {
  const fields = readFields(
    bytes,
    {
      format: (reader) => matching(reader.text(), /^holdfast-snapshot$/),
      storeKind: (reader) => matching(reader.text(), NAME),
      storeId: (reader) => matching(reader.text(), STORE_ID),
      schemaVersion: (reader) => reader.count(),
      sections: (reader) => readList(reader, () => matching(reader.text(), NAME)),
      createdAtMs: (reader) => reader.count(),
    },
    { backupId: (reader: CborReader) => matching(reader.text(), BACKUP_ID) },
  )
  if (fields.sections.length === 0 || new Set(fields.sections).size !== fields.sections.length) throw new TypeError('its sections are empty or name one twice')
  const { backupId, storeKind, storeId, schemaVersion, sections, createdAtMs } = fields
  return { ...(backupId === undefined ? {} : { backupId }), storeKind, storeId, schemaVersion, sections, createdAtMs }
}

export function encodeTrailer(trailer: SnapshotTrailer): Buffer {
  const { frames, records, payloadIds, sha256 } = trailer
  return encode({
    frames: BigInt(frames),
    records: records.map(BigInt),
    payloadIdCount: BigInt(payloadIds.count),
    payloadIdDigest: Buffer.from(payloadIds.digest, 'hex'),
    sha256: Buffer.from(sha256, 'hex'),
  })
}

/** Decodes a trailer. Throws a `TypeError` that names the field at fault. */
export function decodeTrailer(bytes: Uint8Array): SnapshotTrailer {
  const fields = readFields(
    bytes,
    {
      frames: (reader) => reader.count(),
      records: (reader) => readList(reader, () => reader.count()),
      payloadIdCount: (reader) => reader.count(),
      payloadIdDigest: readDigest,
      sha256: readDigest,
    },
    {},
  )
  const { frames, records, payloadIdCount, payloadIdDigest, sha256 } = fields
  return { frames, records, payloadIds: { count: payloadIdCount, digest: payloadIdDigest }, sha256 }
}

type Readers = Readonly<Record<string, (reader: CborReader) => unknown>>
type Fields<R extends Readers> = { [Name in keyof R]: ReturnType<R[Name]> }

/** Reads one map that has every field of `required` once, and those of `optional` at most once. */
function readFields<R extends Readers, O extends Readers>(bytes: Uint8Array, required: R, optional: O): Fields<R> & Partial<Fields<O>> {
  const readers: Readers = { ...required, ...optional }
  const reader = new CborReader(bytes)
  const fields = new Map<string, unknown>()
  const pairs = reader.map()
  for (let pair = 0; pair < pairs; pair++) {
    const name = reader.text()
    if (fields.has(name)) throw new TypeError(`its field ${JSON.stringify(name)} appears twice`)
    const read = Object.hasOwn(readers, name) ? readers[name] : undefined
    try {
      fields.set(name, read === undefined ? reader.skip() : read(reader))
    } catch (cause) {
      if (!(cause instanceof TypeError)) throw cause
      throw new TypeError(`in its field ${JSON.stringify(name)}, ${cause.message}`, { cause })
    }
  }
  reader.end()
  for (const name of Object.keys(required)) if (!fields.has(name)) throw new TypeError(`its field "${name}" is missing`)
  return Object.fromEntries(fields) as Fields<R> & Partial<Fields<O>>
}

function readList<T>(reader: CborReader, read: () => T): readonly T[] {
  const length = reader.array()
  if (length > MAX_SECTIONS) throw new TypeError(`a list has more than ${MAX_SECTIONS} items`)
  return Array.from({ length }, read)
}

function readDigest(reader: CborReader): string {
  const bytes = reader.bytes()
  if (bytes.byteLength !== SHA256_BYTES) throw new TypeError('a SHA-256 is expected')
  return Buffer.from(bytes).toString('hex')
}

function matching(text: string, pattern: RegExp): string {
  if (!pattern.test(text)) throw new TypeError('the text is malformed')
  return text
}
