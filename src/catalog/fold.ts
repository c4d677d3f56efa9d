/** What events come to. */
import type { BackupEvent, CatalogBackup, Job, JobEvent } from './catalog.ts'

/** The job that its events make, in order; `undefined` when the first is not its start. */
export function foldJob(events: readonly JobEvent[]): Job | undefined {
  let job: Job | undefined
  for (const event of events) job = withJobEvent(job, event)
  return job
}

/** The backup that its events make, in order; `undefined` when it was never recorded. */
export function foldBackup(events: readonly BackupEvent[]): CatalogBackup | undefined {
  let backup: CatalogBackup | undefined
  for (const event of events) backup = withBackupEvent(backup, event)
  return backup
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

function withBackupEvent(backup: CatalogBackup | undefined, event: BackupEvent): CatalogBackup | undefined {
  if (event.type === 'backup-recorded') {
    const { backupId, destination, manifest, how, at } = event
    return { backupId, destination, manifest, recordedAt: at, how, verifiedAt: undefined, verification: undefined, deletedAt: undefined }
  }
  if (backup === undefined) return undefined
  if (event.type === 'backup-deleted') return { ...backup, deletedAt: event.at }
  const { level, error, at } = event
  return { ...backup, verifiedAt: at, verification: { level, error } }
}
