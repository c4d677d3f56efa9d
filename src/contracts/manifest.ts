/** The manifest of a backup. `format/FORMAT.md` has the rule of each field. */
import { isDeepStrictEqual } from 'node:util'
import type { BackupContent, Compression, StoreKind } from './backupable.ts'

/** The version of a manifest that requires no features; one that requires features has version 2. */
export const MANIFEST_VERSION = 1

/** The features that this release reads and that a manifest can require. */
export const MANIFEST_FEATURES: readonly string[] = []

/** The size and digest of a backup's stored object. */
export interface StoredObject {
  readonly bytes: number
  /** Lower-case hex. */
  readonly sha256: string
}

export interface Manifest {
  readonly manifestVersion: 1 | 2
  readonly backupId: string
  /** When the snapshot was opened: ISO 8601 in UTC, with milliseconds. */
  readonly createdAt: string
  readonly storeId: string
  readonly storeKind: StoreKind
  readonly schemaVersion: number
  /** What the stream holds. Missing in manifests of release 0.1.0: an archive for a Postgres store, records otherwise. */
  readonly content: BackupContent
  /** Features without which the backup cannot be read. Empty in version 1. */
  readonly requires: readonly string[]
  /** Stored bytes of `payload`. */
  readonly payload: StoredObject
  /**
   * `count` counts the IDs, `sha256` is the digest of the stored object, `set` that of the set. Both digests are the same unless a feature
   * makes them differ.
   */
  readonly payloadIds: StoredObject & { readonly count: number; readonly set: string }
  /** Every stored object by name, `payload` and `payload-ids` included. Missing in manifests of release 0.1.0. */
  readonly objects?: Readonly<Record<string, StoredObject>> | undefined
  /** Records per section. */
  readonly records: Readonly<Record<string, number>>
  /** Always `null`: this release writes and reads no encrypted backups. */
  readonly encryption: null
  /** `zstd` where at least one data frame is compressed. */
  readonly compression: Compression
  /** Free-form, for people and tools. */
  readonly labels: Readonly<Record<string, string>>
  readonly holdfastVersion: string
}

/** The number of records in all sections. */
export function recordCount({ records }: Pick<Manifest, 'records'>): number {
  return Object.values(records).reduce((sum, count) => sum + count, 0)
}

/** Whether a backup has exactly these sections, in whatever order they are named. */
export function hasSections({ records }: Pick<Manifest, 'records'>, names: readonly string[]): boolean {
  return isDeepStrictEqual(Object.keys(records).toSorted(), names.toSorted())
}
