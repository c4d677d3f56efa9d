/** The catalog's events about holds: leases on the payloads of stores, and sweeps of payload stores. */
import type { JobOwner } from '../util/job-owner.ts'

/** The purposes of leases. */
export const LEASE_PURPOSES = ['backup', 'restore', 'rollback'] as const
export type LeasePurpose = (typeof LEASE_PURPOSES)[number] | (string & {})

/** Why a lease ended: something else holds its payloads now; the work failed; its owner is proven gone; or an operator released it. */
export const LEASE_ENDS = ['handed-over', 'failed', 'recovered', 'told'] as const
export type LeaseEnd = (typeof LEASE_ENDS)[number] | (string & {})

/** A set of payload IDs, named by the digest of its `payload-ids` object. */
export interface PayloadIdsName {
  readonly count: number
  readonly bytes: number
  readonly sha256: string
}

interface Event {
  /** When it happened: ISO 8601 in UTC, with milliseconds. */
  readonly at: string
}

/** A lease begins: it holds everything that the store refers to, now or later, or stops referring to. */
export interface LeaseTaken extends Event {
  readonly type: 'lease-taken'
  readonly leaseId: string
  readonly purpose: LeasePurpose
  readonly owner: JobOwner
  /** The leased store; without an ID, every store. */
  readonly storeId?: string | undefined
  /** The backup that is taken or restored. */
  readonly backupId?: string | undefined
}

/** A lease narrows: it holds only these payloads from now on. */
export interface LeaseNarrowed extends Event {
  readonly type: 'lease-narrowed'
  readonly leaseId: string
  readonly payloadIds: PayloadIdsName
}

/** When a lease's owner was first found gone, by a clock that never steps. Times of different epochs cannot be compared. */
export interface Suspicion {
  readonly epoch: string
  readonly steadyMs: number
}

/** The owner of a lease was found gone. */
export interface LeaseSuspected extends Event, Suspicion {
  readonly type: 'lease-suspected'
  readonly leaseId: string
}

export interface LeaseReleased extends Event {
  readonly type: 'lease-released'
  readonly leaseId: string
  readonly why: LeaseEnd
}

export interface SweepStarted extends Event {
  readonly type: 'sweep-started'
  readonly sweepId: string
  readonly owner: JobOwner
}

/** The sweep will not decide by holds older than this generation. */
export interface SweepAcknowledged extends Event {
  readonly type: 'sweep-acknowledged'
  readonly sweepId: string
  readonly generation: number
}

export interface SweepEnded extends Event {
  readonly type: 'sweep-ended'
  readonly sweepId: string
}

export type LeaseEvent = LeaseTaken | LeaseNarrowed | LeaseSuspected | LeaseReleased
export type SweepEvent = SweepStarted | SweepAcknowledged | SweepEnded

/** A lease that is not released. */
export interface Lease {
  readonly leaseId: string
  readonly purpose: LeasePurpose
  readonly owner: JobOwner
  readonly storeId: string | undefined
  readonly backupId: string | undefined
  readonly takenAt: string
  /** The held payloads; `undefined` while the lease holds everything. */
  readonly payloadIds: PayloadIdsName | undefined
  /** The last suspicion, if there was one. */
  readonly suspicion: Suspicion | undefined
}

/** A sweep that has not ended. */
export interface RunningSweep {
  readonly sweepId: string
  readonly owner: JobOwner
  readonly startedAt: string
  /** The generation of holds that the sweep last acknowledged; 0 before the first. */
  readonly acknowledged: number
}
