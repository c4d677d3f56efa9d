/** The manifest, version 1: what a backup says of itself. */
import type { StoreKind } from './backupable.ts'

export const MANIFEST_VERSION = 1

export const COMPRESSIONS = ['none', 'zstd'] as const
export type Compression = (typeof COMPRESSIONS)[number]

export interface Manifest {
  readonly manifestVersion: typeof MANIFEST_VERSION
  readonly backupId: string
  /** When the snapshot was opened: ISO 8601 in UTC, with milliseconds. */
  readonly createdAt: string
  readonly storeId: string
  readonly storeKind: StoreKind
  readonly schemaVersion: number
  /** Stored bytes of `payload`. */
  readonly payload: { readonly bytes: number; readonly sha256: string }
  /** `count` is that of the IDs. `sha256` is the digest of the set too: there is one object for every set. */
  readonly payloadIds: { readonly count: number; readonly bytes: number; readonly sha256: string }
  /** Records per section. */
  readonly records: Readonly<Record<string, number>>
  /** Always `null`: this release writes and reads no encrypted backups. */
  readonly encryption: null
  readonly compression: Compression
  /** Free-form, for people and tools. */
  readonly labels: Readonly<Record<string, string>>
  readonly holdfastVersion: string
}
