/** An opened backup: its manifest was read once, and its objects are read through here. */
import { isDeepStrictEqual } from 'node:util'
import type { SnapshotSummary } from '../contracts/backupable.ts'
import type { BackupRecorded, Catalog, CatalogBackup } from '../contracts/catalog.ts'
import { SIGNAL_OPTION, checkObjectName } from '../contracts/checked-calls.ts'
import { BACKUP_OBJECTS, type BackupObject, type Destination, type DestinationOptions } from '../contracts/destination.ts'
import type { Manifest } from '../contracts/manifest.ts'
import { closing } from '../errors/clean-up.ts'
import {
  BackupAlteredError, BackupIncompleteError, ChecksumMismatchError, type HoldfastErrorOptions, RecordInvalidError, RestoreCorruptError,
  StoreInconsistentError,
} from '../errors/errors.ts'
import { checkHeader } from '../format/check-header.ts'
import { CodecScan } from '../format/codec-scan.ts'
import type { SnapshotHeader } from '../format/header-trailer.ts'
import { parseManifest } from '../format/manifest.ts'
import { type ContentCheck, type DataFrame, decodeRecords, openSnapshot, type SnapshotReader, type StoredRecord } from '../format/snapshot-reader.ts'
import { readManifest, readObject, statBackup } from './destination-calls.ts'
import { countPayloadIds } from '../payload-ids/payload-id-set.ts'
import { FUNCTION, type OptionKinds, checkArgument, checkOptions, optional } from '../util/check-options.ts'
import { checkBackupId } from '../util/ulid.ts'
import { type BytesDigest, checkedBytes, sha256Of } from '../util/checked-bytes.ts'
import { listener } from '../util/listener.ts'

export interface OpenOptions extends DestinationOptions {
  /** Whether to open a backup that differs from its record. @default false */
  readonly allowAltered?: boolean | undefined
}

export interface OpenBackupOptions extends OpenOptions {
  readonly destination: Destination
  /** The catalog whose record of the backup is compared. @default none */
  readonly catalog?: Catalog | undefined
  readonly backupId: string
}

/** Records of one section, in key order. */
export interface RecordBatch {
  readonly section: string
  /** The number of records. */
  readonly count: number
  /** Decodes the records; call it before taking the next batch. Throws `restore_corrupt` for an archive in a store's own form. */
  records(): readonly StoredRecord[]
}

export interface ReadBackupOptions extends DestinationOptions {
  /** Called after each piece, with the bytes read so far. */
  readonly onBytes?: ((bytes: number) => void) | undefined
}

/** The errors of a stream or its content that prove a backup bad. */
const CONTENT_ERRORS: readonly (new (message: string, options: HoldfastErrorOptions) => Error)[] = [RestoreCorruptError, RecordInvalidError, StoreInconsistentError]
/** What messages call the objects: to people, a payload is file content. */
const NAMES: Readonly<Record<BackupObject, string>> = { payload: 'stream', 'payload-ids': 'list of payload IDs' }
const READ_OPTIONS: OptionKinds<ReadBackupOptions> = { ...SIGNAL_OPTION, onBytes: optional(FUNCTION) }
const DAMAGED = { hint: 'Do not trust this backup; restore another one, and check its storage' }

/**
 * Reads and checks the manifest of a published backup, and compares it with what the catalog recorded.
 *
 * Rejects with `manifest_missing`, `manifest_invalid`, `manifest_version_unsupported`, `manifest_feature_unsupported`, `backup_altered`,
 * `invalid_argument` for a malformed ID, `catalog_unavailable`, and what the destination rejects with.
 */
export async function openBackup({ destination, catalog, backupId, allowAltered = false, signal }: OpenBackupOptions): Promise<StoredBackup> {
  const bytes = await readManifest(destination, checkBackupId(backupId), { signal })
  const backup = new StoredBackup(destination, { manifest: parseManifest(bytes, backupId), manifestSha256: sha256Of(bytes) })
  if (!allowAltered) await backup.compareWith(catalog)
  return backup
}

/** A published backup with its manifest. */
export class StoredBackup {
  readonly manifest: Manifest
  /** SHA-256 of the manifest's stored bytes. */
  readonly manifestSha256: string
  readonly #destination: Destination

  constructor(destination: Destination, { manifest, manifestSha256 }: Pick<StoredBackup, 'manifest' | 'manifestSha256'>) {
    this.#destination = destination
    this.manifest = manifest
    this.manifestSha256 = manifestSha256
  }

  get backupId(): string {
    return this.manifest.backupId
  }

  /** URL of the destination. */
  get url(): string {
    return this.#destination.url
  }

  /** The event that records the backup in a catalog. */
  recordedAt(at: string, how: BackupRecorded['how']): BackupRecorded {
    return { type: 'backup-recorded', at, backupId: this.backupId, destination: this.url, manifest: this.manifest, manifestSha256: this.manifestSha256, how }
  }

  /** Rejects with `backup_altered` when the catalog recorded another manifest of this backup, and with `catalog_unavailable`. */
  async compareWith(catalog: Catalog | undefined): Promise<void> {
    const error = this.alteredSince(await catalog?.backup(this.backupId, this.url))
    if (error !== undefined) throw error
  }

  /**
   * Returns a `backup_altered` error if the backup differs from its record. Without a record, or after a recorded deletion, nothing is
   * compared.
   */
  alteredSince(recorded: CatalogBackup | undefined): BackupAlteredError | undefined {
    if (recorded === undefined || recorded.deletedAt !== undefined) return undefined
    const { manifest, manifestSha256: expected } = recorded
    const fields = manifest === undefined ? [] : differingFields(manifest, this.manifest)
    // Earlier releases recorded no digest. A recorded manifest of a newer kind differs from this one, which could be read. Fields are
    // compared too, because the digest in a plan is only a claim of the plan.
    const isSame = expected === undefined ? manifest !== undefined : expected === this.manifestSha256
    if (isSame && fields.length === 0) return undefined
    const what = fields.length === 0 ? 'its manifest was rewritten' : `its manifest has other values for ${fields.join(', ')}`
    return new BackupAlteredError(`Backup ${this.backupId} at ${JSON.stringify(this.url)} differs from what the catalog recorded: ${what}`, {
      details: { backupId: this.backupId, destination: this.url, expected, actual: this.manifestSha256, fields },
    })
  }

  /**
   * Reads the stored bytes of one object. The end is reached only if their number and SHA-256 match the manifest. Rejects with
   * `checksum_mismatch`, `backup_incomplete`, what the destination rejects with, and the signal's reason.
   */
  async *read(object: BackupObject, options: DestinationOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    checkObjectName('read', object)
    checkOptions('read', options, SIGNAL_OPTION)
    const { signal } = options
    const expected = this.#expected(object)
    const fault = ({ bytes }: BytesDigest): Error => {
      if (bytes < expected.bytes) {
        return new BackupIncompleteError(this.#cannotUse(`its ${NAMES[object]} ends after ${bytes} of ${expected.bytes} bytes`), {
          details: { object },
        })
      }
      const what = bytes > expected.bytes ? 'more bytes' : 'another SHA-256'
      return new ChecksumMismatchError(this.#cannotUse(`its ${NAMES[object]} has ${what} than the manifest states`), { details: { object } })
    }
    for await (const chunk of checkedBytes(this.#open(object, signal), expected, fault)) {
      signal?.throwIfAborted()
      yield chunk
    }
  }

  /**
   * Reads the stream for a store to restore. One whose header does not fit the manifest, such as one of another backup, is refused
   * before its first byte. Rejects as `read` does.
   */
  async *payload(options: DestinationOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    checkOptions('payload', options, SIGNAL_OPTION)
    const codecs = new CodecScan()
    for await (const chunk of checkHeader(this.read('payload', options), (header) => this.#compareHeader(header))) {
      codecs.add(chunk)
      yield chunk
    }
    this.#compareCompression(codecs)
  }

  /**
   * Has a check read the stream to its end, and compares it, and the payload IDs that its content shows, with the manifest.
   * Rejects as `records` does, and with what the check rejects with.
   */
  async checkPayload(check: ContentCheck, options: ReadBackupOptions = {}): Promise<void> {
    checkArgument('checkPayload', check, { name: 'check', kind: FUNCTION })
    checkOptions('checkPayload', options, READ_OPTIONS)
    try {
      await closing(await this.#openPayload(options), async (reader) => {
        const payloadIds = await check(reader)
        this.#compareWithManifest(reader)
        if (payloadIds === undefined) return
        this.#compare('number of payload IDs in the records', { expected: this.manifest.payloadIds.count, actual: payloadIds.count })
        this.#compare('digest of the payload IDs in the records', { expected: this.manifest.payloadIds.set, actual: payloadIds.digest })
      })
    } catch (error) {
      throw this.damageOf(error)
    }
  }

  /**
   * Reads the records of a key-value store's backup, a frame at a time: memory does not grow with the backup. The end is reached only if
   * the stream is whole and matches the manifest. Rejects with `restore_corrupt` at the first fault, and otherwise as `read` does.
   */
  async *records(options: DestinationOptions = {}): AsyncGenerator<RecordBatch, void, undefined> {
    checkOptions('records', options, SIGNAL_OPTION)
    try {
      const reader = await this.#openPayload(options)
      try {
        for await (const frame of reader.frames()) {
          yield { section: reader.header.sections[frame.section] ?? '', count: frame.records, records: () => this.#decode(frame) }
        }
        this.#compareWithManifest(reader)
      } finally {
        await reader.close()
      }
    } catch (error) {
      throw this.damageOf(error)
    }
  }

  /** Compares the sizes of the objects with the manifest, without reading them. Rejects with `backup_incomplete`. */
  async checkSizes(options: DestinationOptions = {}): Promise<void> {
    checkOptions('checkSizes', options, SIGNAL_OPTION)
    const bytes = await statBackup(this.#destination, this.backupId, { signal: options.signal })
    for (const object of BACKUP_OBJECTS) {
      const expected = this.#expected(object).bytes
      const actual = bytes[object]
      if (actual === expected) continue
      const found = actual === undefined ? 'is missing' : `has ${actual} bytes`
      throw new BackupIncompleteError(this.#cannotUse(`its ${NAMES[object]} ${found}, but the manifest states ${expected} bytes`), {
        details: { object, expected, actual },
      })
    }
  }

  /** Reads the payload IDs, and checks their bytes, digest, form and number. Rejects with `restore_corrupt`, and as `read` does. */
  async checkPayloadIds(options: ReadBackupOptions = {}): Promise<void> {
    checkOptions('checkPayloadIds', options, READ_OPTIONS)
    const { signal, onBytes } = options
    const count = await countPayloadIds(countBytes(this.read('payload-ids', { signal }), onBytes)).catch((error: unknown) => {
      throw this.damageOf(error)
    })
    this.#compare('number of payload IDs', { expected: this.manifest.payloadIds.count, actual: count })
  }

  /** Says of an error in the content that the backup is bad; returns other errors unchanged. */
  damageOf(error: unknown): unknown {
    const Damage = CONTENT_ERRORS.find((candidate) => error instanceof candidate)
    if (Damage === undefined) return error
    const { message, details } = error as RestoreCorruptError
    return new Damage(this.#cannotUse(message), { cause: error, details, ...DAMAGED })
  }

  async #openPayload({ signal, onBytes }: ReadBackupOptions): Promise<SnapshotReader> {
    return await openSnapshot(countBytes(this.#open('payload', signal), onBytes), { signal })
  }

  #open(object: BackupObject, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array, void, undefined> {
    return readObject(this.#destination, { backupId: this.backupId, object, signal })
  }

  #expected(object: BackupObject): BytesDigest {
    return object === 'payload' ? this.manifest.payload : this.manifest.payloadIds
  }

  #decode(frame: DataFrame): readonly StoredRecord[] {
    try {
      return decodeRecords(frame)
    } catch (error) {
      throw this.damageOf(error)
    }
  }

  #compareWithManifest(reader: SnapshotReader): void {
    const { manifest } = this
    const { records, payloadIds, bytes, sha256, compression } = reader.summary()
    this.#compare('bytes of the stream', { expected: manifest.payload.bytes, actual: bytes })
    this.#compare('SHA-256 of the stream', { expected: manifest.payload.sha256, actual: sha256 })
    this.#compareHeader(reader.header)
    this.#compare('records', { expected: inOrder(manifest.records), actual: inOrder(records) })
    this.#compare('number of payload IDs', { expected: manifest.payloadIds.count, actual: payloadIds.count })
    this.#compare('digest of the payload IDs', { expected: manifest.payloadIds.set, actual: payloadIds.digest })
    this.#compareCompression({ compression })
  }

  #compareHeader({ backupId, storeKind, storeId, schemaVersion, createdAtMs }: SnapshotHeader): void {
    const { manifest } = this
    this.#compare('backup ID', { expected: manifest.backupId, actual: backupId ?? manifest.backupId })
    this.#compare('kind of store', { expected: manifest.storeKind, actual: storeKind })
    this.#compare('store ID', { expected: manifest.storeId, actual: storeId })
    this.#compare('schema version', { expected: manifest.schemaVersion, actual: schemaVersion })
    this.#compare('time of the snapshot', { expected: manifest.createdAt, actual: timeOf(createdAtMs) })
  }

  /** Release 0.1.0 wrote "none" whatever the frames were; its manifests do not have `objects`. */
  #compareCompression({ compression }: Pick<SnapshotSummary, 'compression'>): void {
    if (this.manifest.objects !== undefined) this.#compare('compression', { expected: this.manifest.compression, actual: compression })
  }

  /** Throws `checksum_mismatch` if two values differ. */
  #compare(what: string, { expected, actual }: { readonly expected: unknown; readonly actual: unknown }): void {
    if (expected === actual) return
    const hint = what === 'backup ID' ? `If you moved or copied backup ${String(actual)} to this ID, use it under its own` : undefined
    throw new ChecksumMismatchError(this.#cannotUse(`the ${what} should be ${String(expected)}, but is ${String(actual)}`), {
      hint,
      details: { what, expected, actual },
    })
  }

  #cannotUse(what: string): string {
    return `Cannot use backup ${this.backupId}: ${what}`
  }
}

/** Passes pieces on, and reports the bytes after each. */
async function* countBytes(source: AsyncIterable<Uint8Array>, onBytes: ((bytes: number) => void) | undefined): AsyncGenerator<Uint8Array, void, undefined> {
  const tell = listener(onBytes)
  let bytes = 0
  for await (const piece of source) {
    yield piece
    bytes += piece.byteLength
    tell?.(bytes)
  }
}

/** The fields of a recorded manifest that differ now. Fields that an earlier release did not record are not compared. */
function differingFields(recorded: Manifest, now: Manifest): readonly string[] {
  return (Object.keys(recorded) as (keyof Manifest)[]).filter((field) => recorded[field] !== undefined && !isDeepStrictEqual(recorded[field], now[field]))
}

/** Formats a time; a header may claim one that no `Date` can have. */
function timeOf(ms: number): string {
  const date = new Date(ms)
  return Number.isNaN(date.getTime()) ? `${ms} ms` : date.toISOString()
}

function inOrder(records: Manifest['records']): string {
  return JSON.stringify(Object.entries(records).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
