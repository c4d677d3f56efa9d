/** Folds events into jobs, backups, leases and sweeps. */
import type { BackupEvent, BackupVerified, CatalogBackup, Job, JobEvent, UnknownEvent } from '../contracts/catalog.ts'
import type { Lease, LeaseEvent, RunningSweep, SweepEvent } from '../contracts/hold-events.ts'

/** Folds a job's events, in order; `undefined` if the first is not its start. */
export function foldJob(events: readonly (JobEvent | UnknownEvent)[]): Job | undefined {
  let job: Job | undefined
  for (const event of events) if (event.type !== 'unknown') job = withJobEvent(job, event)
  return job
}

/** Folds a backup's events, in order; `undefined` if it was never recorded. */
export function foldBackup(events: readonly (BackupEvent | UnknownEvent)[]): CatalogBackup | undefined {
  let backup: CatalogBackup | undefined
  let faults: readonly BackupVerified[] = []
  for (const event of events) {
    if (event.type === 'unknown') continue
    if (event.type === 'backup-recorded') faults = []
    if (event.type === 'backup-verified') faults = faultsAfter(faults, event)
    backup = withBackupEvent(backup, event, faults)
  }
  return backup && events.some(({ type }) => type === 'unknown') ? { ...backup, hasNewerEvents: true } : backup
}

/** Folds a lease's events, in order; `undefined` if it was released, or the first is not its start. */
export function foldLease(events: readonly (LeaseEvent | UnknownEvent)[]): Lease | undefined {
  let lease: Lease | undefined
  for (const event of events) if (event.type !== 'unknown') lease = withLeaseEvent(lease, event)
  // A newer release may have let it hold more, also than what it was narrowed to since: it holds everything then.
  return lease && events.some(({ type }) => type === 'unknown') ? { ...lease, payloadIds: undefined } : lease
}

/** Folds a sweep's events, in order; `undefined` if it ended, or the first is not its start. */
export function foldSweep(events: readonly (SweepEvent | UnknownEvent)[]): RunningSweep | undefined {
  let sweep: RunningSweep | undefined
  for (const event of events) {
    if (event.type === 'sweep-started') sweep = { sweepId: event.sweepId, owner: event.owner, startedAt: event.at, acknowledged: 0 }
    else if (event.type === 'sweep-ended') sweep = undefined
    else if (event.type === 'sweep-acknowledged' && sweep !== undefined) sweep = { ...sweep, acknowledged: event.generation }
  }
  return sweep
}

function withLeaseEvent(lease: Lease | undefined, event: LeaseEvent): Lease | undefined {
  if (event.type === 'lease-taken') {
    const { leaseId, purpose, owner, storeId, backupId, at } = event
    return { leaseId, purpose, owner, storeId, backupId, takenAt: at, payloadIds: undefined, suspicion: undefined }
  }
  if (lease === undefined || event.type === 'lease-released') return undefined
  if (event.type === 'lease-narrowed') return { ...lease, payloadIds: event.payloadIds }
  return { ...lease, suspicion: { epoch: event.epoch, steadyMs: event.steadyMs } }
}

function withJobEvent(job: Job | undefined, event: JobEvent): Job | undefined {
  if (event.type === 'job-started') {
    const { jobId, kind, owner, storeKind, storeId, destination, backupId, at } = event
    return { jobId, kind, state: 'running', owner, storeKind, storeId, destination, backupId, startedAt: at, endedAt: undefined, progress: undefined, error: undefined }
  }
  if (job === undefined) return undefined
  if (event.type === 'job-ended') return { ...job, state: event.state, endedAt: event.at, error: event.error }
  const { phase, bytes, records, storeId = job.storeId, backupId = job.backupId } = event
  return { ...job, storeId, backupId, progress: { phase, bytes, records } }
}

function withBackupEvent(backup: CatalogBackup | undefined, event: BackupEvent, faults: readonly BackupVerified[]): CatalogBackup | undefined {
  if (event.type === 'backup-recorded') {
    const { backupId, destination, manifest, manifestSha256, how, at } = event
    return { backupId, destination, manifest, manifestSha256, recordedAt: at, how, verifiedAt: undefined, verification: undefined, deletionStartedAt: undefined, deletedAt: undefined }
  }
  if (backup === undefined) return undefined
  if (event.type === 'backup-deletion-started') return { ...backup, deletionStartedAt: event.at }
  if (event.type === 'backup-deleted') return { ...backup, deletedAt: event.at }
  const { level, error, at } = faults[0] ?? event
  return { ...backup, verifiedAt: at, verification: { level, error } }
}

/** The faults that are left after a verification, oldest first. It clears what it would find itself, and sees nothing of the others. */
function faultsAfter(faults: readonly BackupVerified[], event: BackupVerified): readonly BackupVerified[] {
  const others = faults.filter(({ level }) => !includesLevel(event.level, level))
  return event.error === undefined ? others : [...others, event]
}

/** Whether a verification at `level` surely looks at all that one at `other` does. "payloads" may know no rules for the content. */
function includesLevel(level: string, other: string): boolean {
  return level === other || (INCLUDED[level] ?? []).includes(other)
}

const INCLUDED: Readonly<Record<string, readonly string[]>> = {
  checksum: ['manifest'],
  form: ['manifest', 'checksum'],
  content: ['manifest', 'checksum', 'form'],
  restore: ['manifest', 'checksum', 'form', 'content'],
  payloads: ['manifest', 'checksum'],
}
