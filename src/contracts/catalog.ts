/**
 * The server's own record of jobs and backups: what was tried, what came of it, what is where.
 *
 * It is append-only: an event is never changed or removed, and a state is folded from events. The truth about a backup is at its
 * destination; a catalog that is lost is made anew by `rebuildCatalog`, without the history of jobs.
 */
import type { ErrorCode } from '../errors/errors.ts'
import type { Manifest } from './manifest.ts'
import type { Lease, LeaseEvent, RunningSweep, SweepEvent } from './hold-events.ts'
import type { JobOwner } from '../util/job-owner.ts'

/** One of these names, or one that a newer release wrote into the same catalog. */
export type OpenName<Known extends string> = Known | (string & {})

export const JOB_KINDS = ['backup', 'restore', 'rollback', 'delete'] as const
export type JobKind = OpenName<(typeof JOB_KINDS)[number]>

/** A job begins as `running` and ends as one of the others. `interrupted`: it was cancelled, or its process died. */
export const JOB_STATES = ['running', 'succeeded', 'failed', 'interrupted'] as const
export type JobState = OpenName<(typeof JOB_STATES)[number]>

/** How far a backup is checked: its manifest and sizes; all of its stored bytes too; and on top of that a trial restore, or that its payloads exist. */
export const VERIFICATION_LEVELS = ['manifest', 'checksum', 'restore', 'payloads'] as const
export type VerificationLevel = (typeof VERIFICATION_LEVELS)[number]

/** An error as data. */
export interface JobError {
  readonly code: OpenName<ErrorCode>
  readonly message: string
  readonly hint: string
}

/** How far a job is. */
export interface JobProgress {
  /** What the job is at, in the words of its kind. */
  readonly phase: string
  readonly bytes: number
  readonly records: number
}

/** What verification found. */
export interface Verification {
  readonly level: OpenName<VerificationLevel>
  /** Why the backup is not good; `undefined` where it is. */
  readonly error?: JobError | undefined
}

interface Event {
  /** When it happened: ISO 8601 in UTC, with milliseconds. */
  readonly at: string
}

export interface JobStarted extends Event {
  readonly type: 'job-started'
  readonly jobId: string
  readonly kind: JobKind
  readonly owner: JobOwner
  readonly storeKind?: string | undefined
  readonly storeId?: string | undefined
  /** URL of the destination. */
  readonly destination?: string | undefined
  readonly backupId?: string | undefined
}

export interface JobProgressed extends Event, JobProgress {
  readonly type: 'job-progressed'
  readonly jobId: string
  /** Where they were not known when the job began. */
  readonly storeId?: string | undefined
  readonly backupId?: string | undefined
}

export interface JobEnded extends Event {
  readonly type: 'job-ended'
  readonly jobId: string
  readonly state: Exclude<JobState, 'running'>
  /** Why it failed or was interrupted. */
  readonly error?: JobError | undefined
}

export interface BackupRecorded extends Event {
  readonly type: 'backup-recorded'
  readonly backupId: string
  readonly destination: string
  /** `undefined` where a newer release recorded one that this release cannot read. */
  readonly manifest: Manifest | undefined
  /** SHA-256 of the manifest's bytes as they were stored; releases up to 0.1.0 record none. */
  readonly manifestSha256?: string | undefined
  /** By the backup itself, or found at the destination later. */
  readonly how: OpenName<'backup' | 'rebuild'>
}

export interface BackupVerified extends Event, Verification {
  readonly type: 'backup-verified'
  readonly backupId: string
  readonly destination: string
}

/** The backup is about to be deleted: it may be found gone from now on. */
export interface BackupDeletionStarted extends Event {
  readonly type: 'backup-deletion-started'
  readonly backupId: string
  readonly destination: string
}

export interface BackupDeleted extends Event {
  readonly type: 'backup-deleted'
  readonly backupId: string
  readonly destination: string
}

/** What a newer release wrote: it stays in the catalog as it is, and is passed over. */
export interface UnknownEvent {
  readonly type: 'unknown'
}

export type JobEvent = JobStarted | JobProgressed | JobEnded
export type BackupEvent = BackupRecorded | BackupVerified | BackupDeletionStarted | BackupDeleted
export type CatalogEvent = JobEvent | BackupEvent | LeaseEvent | SweepEvent

/** Events after which other payloads are held than before. */
export const HOLD_CHANGES: ReadonlySet<CatalogEvent['type']> = new Set(['lease-taken', 'lease-narrowed', 'lease-released', 'backup-recorded', 'backup-deletion-started', 'backup-deleted'])

/** A job as its events make it. */
export interface Job {
  readonly jobId: string
  readonly kind: JobKind
  readonly state: JobState
  readonly owner: JobOwner
  readonly storeKind: string | undefined
  readonly storeId: string | undefined
  readonly destination: string | undefined
  readonly backupId: string | undefined
  readonly startedAt: string
  readonly endedAt: string | undefined
  /** The last that was recorded. */
  readonly progress: JobProgress | undefined
  readonly error: JobError | undefined
}

/** A backup at one destination as its events make it. */
export interface CatalogBackup {
  readonly backupId: string
  readonly destination: string
  /** `undefined` where a newer release recorded one that this release cannot read: the backup may be whole. */
  readonly manifest: Manifest | undefined
  /** SHA-256 of the manifest's bytes, where it was recorded. */
  readonly manifestSha256: string | undefined
  readonly recordedAt: string
  readonly how: BackupRecorded['how']
  /** When it was last verified, with whatever outcome; `undefined` where it never was. */
  readonly verifiedAt: string | undefined
  readonly verification: Verification | undefined
  /** When its deletion began; the backup may still be there. */
  readonly deletionStartedAt: string | undefined
  readonly deletedAt: string | undefined
}

/**
 * A catalog belongs to one process at a time. Errors of every method: `catalog_unavailable` when it cannot be read or
 * written, or holds what it cannot have written.
 */
export interface Catalog extends AsyncDisposable {
  /** Appends events, all or none, in order. Resolves when a power cut can no longer take them back. */
  append(...events: readonly CatalogEvent[]): Promise<void>
  /** Newest first. */
  jobs(options?: { readonly limit?: number | undefined }): AsyncIterable<Job>
  job(jobId: string): Promise<Job | undefined>
  /** In ascending order of their IDs, deleted ones included: see `deletedAt`. */
  backups(): AsyncIterable<CatalogBackup>
  /** A backup at the destination of that URL. */
  backup(backupId: string, destination: string): Promise<CatalogBackup | undefined>
  /** Leases that were not released, the oldest first. */
  leases(): Promise<readonly Lease[]>
  /** Sweeps that have not ended. One whose process died is ended when the catalog is opened. */
  sweeps(): Promise<readonly RunningSweep[]>
  /** Grows with every event of `HOLD_CHANGES`, in the same step; 0 before the first. */
  holdGeneration(): Promise<number>
  /** Idempotent. */
  close(): Promise<void>
}
