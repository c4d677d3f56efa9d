/** The manifest: what a backup says of itself. `format/FORMAT.md` has the rule of each field. */
import type { Compression, StoreKind } from './backupable.ts'

/** Of a manifest that requires nothing; one that requires features is of version 2. */
export const MANIFEST_VERSION = 1

/** The features that this release reads and that a manifest can require. */
export const MANIFEST_FEATURES: readonly string[] = []

/** What the data frames of a stream hold: records with keys, an archive in the store kind's own form, or files. */
export const BACKUP_CONTENTS = ['records', 'archive', 'files'] as const
export type BackupContent = (typeof BACKUP_CONTENTS)[number]

/** An object of a backup as it is stored. */
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
  /** A manifest of release 0.1.0 does not say it: such a backup holds an archive where the store is a Postgres one, records otherwise. */
  readonly content: BackupContent
  /** Features without which the backup cannot be read. Empty in version 1. */
  readonly requires: readonly string[]
  /** Stored bytes of `payload`. */
  readonly payload: StoredObject
  /** `count` is that of the IDs, `sha256` that of the stored object, `set` the digest of the set. The two digests are the same unless a feature makes them differ. */
  readonly payloadIds: StoredObject & { readonly count: number; readonly set: string }
  /** Every stored object by name, `payload` and `payload-ids` included. A manifest of release 0.1.0 does not have it. */
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

/** How many records there are in all sections together. */
export function recordCount({ records }: Pick<Manifest, 'records'>): number {
  return Object.values(records).reduce((sum, count) => sum + count, 0)
}
