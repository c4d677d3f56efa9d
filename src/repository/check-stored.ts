/** The stored bytes of a backup against its manifest, and its parts against each other. */
import { createHash } from 'node:crypto'
import { BACKUP_OBJECTS, type BackupObject, type Destination } from '../contracts/destination.ts'
import { BackupIncompleteError, ChecksumMismatchError, isHoldfastError, RestoreCorruptError } from '../errors/errors.ts'
import { countPayloadIds } from '../payload-ids/payload-id-set.ts'
import type { Manifest } from '../contracts/manifest.ts'
import { type DataFrame, openSnapshot, type SnapshotReader } from '../format/snapshot-reader.ts'

export interface StoredBackup {
  readonly destination: Destination
  readonly manifest: Manifest
}

export interface CheckOptions {
  readonly signal?: AbortSignal | undefined
  /** Called for each piece that was read: bytes so far, of both objects together, and records. */
  readonly onProgress?: ((progress: { readonly bytes: number; readonly records: number }) => void) | undefined
  /** Sees each data frame, checked, with the name of its section. */
  readonly onFrame?: ((frame: DataFrame, section: string) => void) | undefined
}

const HINT = { hint: 'Do not trust this backup; restore another one, and check the storage it lies on' }

/** Compares the sizes of the objects with the manifest. Rejects with `backup_incomplete`. */
export async function checkSizes({ destination, manifest }: StoredBackup, { signal }: CheckOptions = {}): Promise<void> {
  const { bytes } = await destination.stat(manifest.backupId, { signal })
  for (const object of BACKUP_OBJECTS) {
    const expected = expectedOf(manifest, object).bytes
    const actual = bytes[object]
    if (actual === expected) continue
    const found = actual === undefined ? 'is missing' : `has ${actual} bytes`
    throw new BackupIncompleteError(`Cannot verify backup ${manifest.backupId}: its ${object} ${found}, and the manifest says ${expected} bytes`, {
      details: { object, expected, actual },
    })
  }
}

/**
 * Reads both objects once, whole. Every byte, frame, count and digest, and all that manifest, header and trailer say, must
 * agree. Rejects with `restore_corrupt` at the first fault of the stream, `checksum_mismatch`, `backup_incomplete`.
 */
export async function checkObjects(backup: StoredBackup, options: CheckOptions = {}): Promise<{ readonly frames: number; readonly sections: readonly string[] }> {
  const reader = await checkPayload(backup, options)
  const before = backup.manifest.payload.bytes
  const records = Object.values(backup.manifest.records).reduce((sum, count) => sum + count, 0)
  await checkPayloadIdsObject(backup, { ...options, onProgress: ({ bytes }) => options.onProgress?.({ bytes: before + bytes, records }) })
  return { frames: reader.trailer?.frames ?? 0, sections: reader.header.sections }
}

async function checkPayload({ destination, manifest }: StoredBackup, { signal, onProgress, onFrame }: CheckOptions): Promise<SnapshotReader> {
  const { backupId } = manifest
  let bytes = 0
  let records = 0
  const counted = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const piece of destination.open(backupId, 'payload', { signal })) {
      yield piece
      bytes += piece.byteLength
      onProgress?.({ bytes, records })
    }
  }
  try {
    const reader = await openSnapshot(counted(), { signal })
    for await (const frame of reader.frames()) {
      records += frame.records
      onFrame?.(frame, reader.header.sections[frame.section] ?? '')
    }
    compareWithManifest(reader, manifest)
    return reader
  } catch (error) {
    if (!(error instanceof RestoreCorruptError)) throw error
    throw new RestoreCorruptError(`Cannot verify backup ${backupId}: ${error.message}`, { cause: error, offset: error.offset, frame: error.frame, ...HINT })
  }
}

function compareWithManifest(reader: SnapshotReader, manifest: Manifest): void {
  const { backupId, storeKind, storeId, schemaVersion, createdAtMs, records, payloadIds, bytes, sha256, compression } = reader.summary()
  const pairs: readonly (readonly [what: string, expected: unknown, actual: unknown])[] = [
    ['bytes of payload', manifest.payload.bytes, bytes],
    ['SHA-256 of payload', manifest.payload.sha256, sha256],
    ['backup ID', manifest.backupId, backupId ?? manifest.backupId],
    ['kind of store', manifest.storeKind, storeKind],
    ['store ID', manifest.storeId, storeId],
    ['schema version', manifest.schemaVersion, schemaVersion],
    ['time of the snapshot', manifest.createdAt, timeOf(createdAtMs)],
    ['records', inOrder(manifest.records), inOrder(records)],
    ['number of payload IDs', manifest.payloadIds.count, payloadIds.count],
    ['digest of the payload IDs', manifest.payloadIds.set, payloadIds.digest],
    // Release 0.1.0 wrote "none" whatever the frames were.
    ['compression', manifest.compression, manifest.objects === undefined ? manifest.compression : compression],
  ]
  for (const [what, expected, actual] of pairs) compare(manifest.backupId, what, { expected, actual })
}

async function checkPayloadIdsObject({ destination, manifest }: StoredBackup, { signal, onProgress }: CheckOptions): Promise<void> {
  const { backupId, payloadIds: expected } = manifest
  const sha256 = createHash('sha256')
  let bytes = 0
  let count = 0
  const hashed = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const piece of destination.open(backupId, 'payload-ids', { signal })) {
      signal?.throwIfAborted()
      sha256.update(piece)
      bytes += piece.byteLength
      yield piece
      onProgress?.({ bytes, records: 0 })
    }
  }
  try {
    count = await countPayloadIds(hashed())
  } catch (error) {
    if (!isHoldfastError(error) || error.code !== 'restore_corrupt') throw error
    throw new RestoreCorruptError(`Cannot verify backup ${backupId}: ${error.message}`, { cause: error, offset: error.details['offset'] as number | undefined, ...HINT })
  }
  compare(backupId, 'bytes of payload-ids', { expected: expected.bytes, actual: bytes })
  compare(backupId, 'SHA-256 of payload-ids', { expected: expected.sha256, actual: sha256.digest('hex') })
  compare(backupId, 'number of payload IDs', { expected: expected.count, actual: count })
}

function compare(backupId: string, what: string, { expected, actual }: { readonly expected: unknown; readonly actual: unknown }): void {
  if (expected === actual) return
  throw new ChecksumMismatchError(`Cannot verify backup ${backupId}: the ${what} should be ${String(expected)}, and is ${String(actual)}`, {
    details: { what, expected, actual },
  })
}

function expectedOf(manifest: Manifest, object: BackupObject): { readonly bytes: number } {
  return object === 'payload' ? manifest.payload : manifest.payloadIds
}

/** A header may claim a time that no date can have. */
function timeOf(ms: number): string {
  const date = new Date(ms)
  return Number.isNaN(date.getTime()) ? `${ms} ms` : date.toISOString()
}

function inOrder(records: Readonly<Record<string, number>>): string {
  return JSON.stringify(Object.entries(records).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
