/** Holders of payloads, and where the payload IDs of each are read. */
import type { Lease, PayloadIdsName } from '../../contracts/hold-events.ts'
import type { StoredSet } from '../leases/payload-ids-cache.ts'

/** A backup: it holds its payloads as long as its destination lists it. */
export interface BackupHolder {
  readonly kind: 'backup'
  readonly backupId: string
  readonly destination: string
  readonly storeId: string
  /** ISO 8601 in UTC. */
  readonly since: string
  readonly payloadIds: PayloadIdsName
}

/** A lease; without payload IDs it holds everything. */
export interface LeaseHolder {
  readonly kind: 'lease'
  readonly leaseId: string
  readonly purpose: Lease['purpose']
  readonly storeId: string | undefined
  readonly since: string
  readonly payloadIds: PayloadIdsName | undefined
}

export type Holder = BackupHolder | LeaseHolder

export interface ReadHoldsOptions {
  readonly signal?: AbortSignal | undefined
  /** Called and awaited regularly while holds are read. */
  readonly onTurn?: (() => Promise<void>) | undefined
  /** Stores whose backups are recorded where the catalog has no record of them yet, so that later changes are seen. @default none */
  readonly recordFor?: ReadonlySet<string> | undefined
}

/** A set of held payload IDs; backups that have the same set share it. */
export interface HoldSource {
  readonly name: PayloadIdsName
  readonly holders: readonly Holder[]
  /** The bytes of the set. The stream fails with `hold_unavailable` when they cannot be read or are not those of the name. */
  read(): AsyncIterable<Uint8Array>
  /**
   * Opens a copy on local disk, made when missing; `undefined` where copies are not kept. The caller checks and closes it. Rejects as
   * `read` does.
   */
  openCopy(): Promise<StoredSet | undefined>
  /** Drops the copy, so that the next read fetches the set again. */
  forget(): Promise<void>
}
