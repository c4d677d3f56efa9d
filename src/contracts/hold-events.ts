/** What the catalog knows of holds: leases on the payloads of stores, and sweeps of payload stores. */
import type { JobOwner } from '../util/job-owner.ts'

/** What a lease is taken for. */
export const LEASE_PURPOSES = ['backup', 'restore', 'rollback'] as const
export type LeasePurpose = (typeof LEASE_PURPOSES)[number] | (string & {})

/** Why a lease ended: what it held is held otherwise now; the work came to nothing; its owner was proven to be gone; or an operator said so. */
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

/** From now on everything is held that the store refers to, or ceases to refer to. */
export interface LeaseTaken extends Event {
  readonly type: 'lease-taken'
  readonly leaseId: string
  readonly purpose: LeasePurpose
  readonly owner: JobOwner
  /** Without one it is a lease on any store. */
  readonly storeId?: string | undefined
  /** What is taken or restored. */
  readonly backupId?: string | undefined
}

/** From now on only these payloads are held. */
export interface LeaseNarrowed extends Event {
  readonly type: 'lease-narrowed'
  readonly leaseId: string
  readonly payloadIds: PayloadIdsName
}

/** When its owner was first found to be gone, by a clock that never steps; times of different epochs cannot be compared. */
export interface Suspicion {
  readonly epoch: string
  readonly steadyMs: number
}

/** Its owner was found to be gone. */
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

/** The sweep decides nothing any more by holds that are older than this generation. */
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

/** A lease that was not released. */
export interface Lease {
  readonly leaseId: string
  readonly purpose: LeasePurpose
  readonly owner: JobOwner
  readonly storeId: string | undefined
  readonly backupId: string | undefined
  readonly takenAt: string
  /** What it holds; `undefined` while it holds everything. */
  readonly payloadIds: PayloadIdsName | undefined
  /** The last, if there was one. */
  readonly suspicion: Suspicion | undefined
}

/** A sweep that has not ended. */
export interface RunningSweep {
  readonly sweepId: string
  readonly owner: JobOwner
  readonly startedAt: string
  /** The generation of holds that it last acknowledged; 0 before the first. */
  readonly acknowledged: number
}
