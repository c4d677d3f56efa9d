/**
 * The server's own record of jobs and their outcomes, and of where backups are.
 *
 * The catalog is append-only: an event is never changed or removed, and a state is folded from events. The destination has the truth
 * about a backup; `rebuildCatalog` rebuilds a lost catalog, without the history of jobs.
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

/**
 * How thoroughly to check a backup: its manifest and sizes; also all stored bytes; also what they hold; also a trial restore, or that its
 * payloads exist.
 */
export const VERIFICATION_LEVELS = ['manifest', 'checksum', 'content', 'restore', 'payloads'] as const
export type VerificationLevel = (typeof VERIFICATION_LEVELS)[number]
/** A level as it is recorded. `form`: of `content`, only that records decode and are in order, for no rules were given. */
export type RecordedLevel = VerificationLevel | 'form'

/** An error as data. */
export interface JobError {
  readonly code: OpenName<ErrorCode>
  readonly message: string
  readonly hint: string
}

/** The progress of a job. */
export interface JobProgress {
  /** The current step, in the words of the job's kind. */
  readonly phase: string
  readonly bytes: number
  readonly records: number
}

/** The outcome of a verification. */
export interface Verification {
  readonly level: OpenName<RecordedLevel>
  /** Why the backup is bad; `undefined` for a good one. */
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
  /** The store's ID, if not known when the job began; likewise `backupId`. */
  readonly storeId?: string | undefined
  readonly backupId?: string | undefined
}

export interface JobEnded extends Event {
  readonly type: 'job-ended'
  readonly jobId: string
  readonly state: Exclude<JobState, 'running'>
  /** Why the job failed or was interrupted. */
  readonly error?: JobError | undefined
}

export interface BackupRecorded extends Event {
  readonly type: 'backup-recorded'
  readonly backupId: string
  readonly destination: string
  /** `undefined` where a newer release recorded a manifest that this release cannot read. */
  readonly manifest: Manifest | undefined
  /** SHA-256 of the manifest's stored bytes; releases up to 0.1.0 do not record it. */
  readonly manifestSha256?: string | undefined
  /** Recorded by the backup itself, or found at the destination later. A sweep expects what it found to stay as it was, but not to stay. */
  readonly how: OpenName<'backup' | 'rebuild' | 'sweep'>
}

export interface BackupVerified extends Event, Verification {
  readonly type: 'backup-verified'
  readonly backupId: string
  readonly destination: string
}

/** The deletion of a backup begins: the backup may be gone from now on. */
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

/** An event that a newer release wrote; it stays in the catalog and is skipped. */
export interface UnknownEvent {
  readonly type: 'unknown'
}

export type JobEvent = JobStarted | JobProgressed | JobEnded
export type BackupEvent = BackupRecorded | BackupVerified | BackupDeletionStarted | BackupDeleted
export type CatalogEvent = JobEvent | BackupEvent | LeaseEvent | SweepEvent

/** Events that change which payloads are held. */
export const HOLD_CHANGES: ReadonlySet<CatalogEvent['type']> = new Set(['lease-taken', 'lease-narrowed', 'lease-released', 'backup-recorded', 'backup-deletion-started', 'backup-deleted'])

/** The state of a job, folded from its events. */
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
  /** The last recorded progress. */
  readonly progress: JobProgress | undefined
  readonly error: JobError | undefined
}

/** The state of a backup at one destination, folded from its events. */
export interface CatalogBackup {
  readonly backupId: string
  readonly destination: string
  /** `undefined` where a newer release recorded a manifest that this release cannot read: the backup may be whole. */
  readonly manifest: Manifest | undefined
  /** SHA-256 of the manifest's bytes, where it was recorded. */
  readonly manifestSha256: string | undefined
  readonly recordedAt: string
  readonly how: BackupRecorded['how']
  /** When the verification below was: the last, or the oldest whose fault none since cleared that was as thorough. */
  readonly verifiedAt: string | undefined
  readonly verification: Verification | undefined
  /** When its deletion began; the backup may still be there. */
  readonly deletionStartedAt: string | undefined
  readonly deletedAt: string | undefined
  /** Whether a newer release recorded more of it, which this release cannot read. @default false */
  readonly hasNewerEvents?: boolean | undefined
}

/**
 * A catalog belongs to one process at a time. Errors of every method: `catalog_unavailable` when the catalog cannot be read or
 * written, or holds events that no release can have written.
 */
export interface Catalog extends AsyncDisposable {
  /**
   * Appends events, all or none, in order. Resolves when they are sure to survive a power cut. After an append that failed to write, the
   * catalog is only read: every append is refused until the catalog was closed and opened again. Only then it shows whether the failed one
   * was made (`details.outcome` "unknown").
   */
  append(...events: readonly CatalogEvent[]): Promise<void>
  /** Newest first. */
  jobs(options?: { readonly limit?: number | undefined }): AsyncIterable<Job>
  job(jobId: string): Promise<Job | undefined>
  /** In ascending order of their IDs, deleted ones included: see `deletedAt`. */
  backups(): AsyncIterable<CatalogBackup>
  /** A backup at the destination of that URL. */
  backup(backupId: string, destination: string): Promise<CatalogBackup | undefined>
  /** Leases that are not released, the oldest first. */
  leases(): Promise<readonly Lease[]>
  /** Sweeps that have not ended. Opening a catalog ends those whose process died. */
  sweeps(): Promise<readonly RunningSweep[]>
  /** A number that grows with every event of `HOLD_CHANGES`, in the same step; 0 before the first. */
  holdGeneration(): Promise<number>
  /** Idempotent. */
  close(): Promise<void>
}
