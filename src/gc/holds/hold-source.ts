/** Holders of payloads, and where the payload IDs of each are read. */
import type { Lease, PayloadIdsName } from '../../contracts/hold-events.ts'
import type { StoredSet } from '../leases/payload-ids-cache.ts'

/** A backup that holds its payloads as long as it is listed. */
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
  /** Called, and waited for, again and again while holds are read. */
  readonly onTurn?: (() => Promise<void>) | undefined
}

/** A set of held payload IDs; backups that have the same set share it. */
export interface HoldSource {
  readonly name: PayloadIdsName
  readonly holders: readonly Holder[]
  /** Its bytes, checked against the name by their end. Rejects with `hold_unavailable`. */
  read(): AsyncIterable<Uint8Array>
  /** Opens a copy on local disk, which is made where there is none; `undefined` where none is kept. The caller checks and closes it. Rejects as reading does. */
  openCopy(): Promise<StoredSet | undefined>
  /** Has it fetched anew by the next read, where it can be. */
  forget(): Promise<void>
}
