/** Deletes backups, unless they are needed. */
import type { JobLog } from '../catalog/job-log.ts'
import { JOB_HOOKS, type JobHooks, runJob } from '../catalog/run-job.ts'
import type { Catalog } from '../contracts/catalog.ts'
import type { Destination } from '../contracts/destination.ts'
import { CATALOG, DESTINATION } from '../contracts/kinds.ts'
import type { Lease } from '../contracts/hold-events.ts'
import type { Manifest } from '../contracts/manifest.ts'
import { messageOf } from '../errors/error-message.ts'
import { BackupProtectedError, CombinedError, isHoldfastError } from '../errors/errors.ts'
import { BOOLEAN, type OptionKinds, SIGNAL, STRING, CLOCK, checkOptions, listOf, optional } from '../util/check-options.ts'
import { checkBackupId } from '../util/ulid.ts'
import { mapInOrder } from '../util/in-parallel.ts'
import { destinationWarnings, listIds } from './destination-calls.ts'
import { lookAtBackup, MANIFESTS_AT_ONCE } from './list-backups.ts'
import type { StoredBackup } from './stored-backup.ts'

export interface DeleteOptions extends JobHooks {
  /** Whether to delete even the last good backup of a store, and backups that this release cannot judge. @default false */
  readonly force?: boolean | undefined
  /** Ends the call before the next deletion. A deletion that has begun is finished. */
  readonly signal?: AbortSignal | undefined
  /** The time in milliseconds since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined
}

export interface DeleteBackupsOptions extends DeleteOptions {
  readonly destination: Destination
  /** Records the deletions; also knows which backups failed verification. */
  readonly catalog?: Catalog | undefined
  readonly backupIds: readonly string[]
}

export interface DeleteBackupOptions extends Omit<DeleteBackupsOptions, 'backupIds'> {
  readonly backupId: string
}

export interface DeleteReport {
  readonly jobId: string
  readonly backupId: string
  /** Whether the backup was listed; otherwise only leftovers of an interrupted delete were removed. */
  readonly wasListed: boolean
  /** What the destination warned of, such as files of others that were left; in the last report also what the catalog could not record. */
  readonly warnings: readonly Error[]
}

const DELETE_OPTIONS: OptionKinds<Omit<DeleteBackupsOptions, 'backupIds'>> = {
  ...JOB_HOOKS,
  destination: DESTINATION,
  catalog: optional(CATALOG),
  force: optional(BOOLEAN),
  signal: optional(SIGNAL),
  clock: optional(CLOCK),
}

/** Deletes one backup: see `deleteBackups`. */
export async function deleteBackup(given: DeleteBackupOptions): Promise<DeleteReport> {
  checkOptions('deleteBackup', given, { ...DELETE_OPTIONS, backupId: STRING })
  const { backupId, ...options } = given
  const [report] = await deleteBackups({ ...options, backupIds: [backupId] })
  return report as DeleteReport
}

/**
 * Un-lists backups, one after the other, and removes their objects, as one job. Idempotent: the next call finishes an interrupted deletion.
 * All backups are checked before the first is deleted; after a failure or an abort no further deletion begins, and `details.deleted` has
 * those that were done.
 *
 * Rejects with `backup_protected` when no good backup of a store would be left at the destination, or the catalog has events of the backup
 * from a newer release, unless forced; and, forced or not, while the catalog has a lease on a backup that is being taken or restored. A
 * backup is good when its manifest is readable and as the catalog recorded it, its objects have the right sizes, and no fault is recorded
 * of it that a verification as thorough has not cleared. A damaged backup may always be deleted. Rejects, unless forced, with
 * `manifest_version_unsupported`, `manifest_feature_unsupported` or `backup_altered` for a backup that this release cannot judge; with
 * `invalid_argument` for a malformed ID, `backup_aborted`, `catalog_unavailable`, and what the destination rejects with.
 */
export async function deleteBackups(options: DeleteBackupsOptions): Promise<readonly DeleteReport[]> {
  checkOptions('delete', options, { ...DELETE_OPTIONS, backupIds: listOf(STRING, 'strings') })
  const { destination } = options
  const backupIds = [...new Set(options.backupIds)].map((backupId) => checkBackupId(backupId))
  if (backupIds.length === 0) return []
  const job = { kind: 'delete', destination: destination.url, backupId: backupIds.length === 1 ? backupIds[0] : undefined } as const
  return await runJob(job, options, async (log) => {
    const candidates = await judgeAll(backupIds, options)
    const reports: DeleteReport[] = []
    try {
      for (const candidate of candidates) reports.push(await deleteOne(candidate, options, log))
    } catch (error) {
      throw reports.length === 0 ? error : afterOthers(error, reports)
    }
    await log.succeed()
    // Of the job, which has no report of its own.
    return reports.map((report, at) => (at < reports.length - 1 ? report : { ...report, warnings: [...report.warnings, ...log.warnings] }))
  })
}

/** Finds out what each backup is. Throws if one of them must stay. */
async function judgeAll(backupIds: readonly string[], options: DeleteBackupsOptions): Promise<readonly Candidate[]> {
  const { catalog, force = false } = options
  const candidates: Candidate[] = []
  for await (const candidate of mapInOrder(backupIds, MANIFESTS_AT_ONCE, (backupId) => judge(options, { backupId, refuseUnknown: !force }))) candidates.push(candidate)
  if (!force) await refuseLastGood(candidates, options)
  const leases = (await catalog?.leases()) ?? []
  for (const backupId of backupIds) {
    const lease = leases.find((lease) => lease.backupId === backupId)
    if (lease !== undefined) throw beingUsed(backupId, lease.purpose)
  }
  return candidates
}

/** What one deletion failed with, and which were done before. */
function afterOthers(error: unknown, reports: readonly DeleteReport[]): CombinedError {
  const deleted = reports.map(({ backupId }) => backupId)
  return new CombinedError(`${messageOf(error)}; deleted before that: ${deleted.join(', ')}`, [error], { details: { deleted } })
}

interface Candidate {
  readonly backupId: string
  readonly isListed: boolean
  /** The manifest of a good backup. */
  readonly good: Manifest | undefined
}

/** Finds out whether a backup is good. One that cannot be judged throws with `refuseUnknown`, and otherwise counts as not good. */
async function judge(
  { destination, catalog, signal }: DeleteBackupsOptions,
  { backupId, refuseUnknown }: { readonly backupId: string; readonly refuseUnknown: boolean },
): Promise<Candidate> {
  const recorded = await catalog?.backup(backupId, destination.url)
  const entry = await lookAtBackup(destination, async () => recorded, { backupId, signal })
  switch (entry.state) {
    case 'readable': {
      if (refuseUnknown && recorded?.hasNewerEvents === true) throw recordedByNewer(backupId)
      const isGood = recorded?.verification?.error === undefined && (await isComplete(entry.backup, signal))
      return { backupId, isListed: true, good: isGood ? entry.backup.manifest : undefined }
    }
    case 'altered':
    case 'newer':
      if (refuseUnknown) throw entry.error
      return { backupId, isListed: true, good: undefined }
    case 'damaged':
      return { backupId, isListed: true, good: undefined }
    case 'gone':
      return { backupId, isListed: false, good: undefined }
    case 'unreachable':
      throw entry.error
    default:
      return entry satisfies never
  }
}

async function isComplete(backup: StoredBackup, signal: AbortSignal | undefined): Promise<boolean> {
  try {
    await backup.checkSizes({ signal })
    return true
  } catch (error) {
    if (isHoldfastError(error) && (error.code === 'backup_incomplete' || error.code === 'manifest_missing')) return false
    throw error
  }
}

/** Throws if a store would be left without a good backup. Checks the newest first, until each store has one. */
async function refuseLastGood(candidates: readonly Candidate[], options: DeleteBackupsOptions): Promise<void> {
  const { destination, signal } = options
  const lastOf = new Map<string, string>()
  for (const { backupId, good } of candidates) if (good !== undefined && backupId > (lastOf.get(good.storeId) ?? '')) lastOf.set(good.storeId, backupId)
  if (lastOf.size === 0) return
  const others: string[] = []
  for await (const backupId of listIds(destination, { signal })) if (!candidates.some((candidate) => candidate.backupId === backupId)) others.push(backupId)
  for (const backupId of others.toReversed()) {
    const { good } = await judge(options, { backupId, refuseUnknown: false })
    if (good !== undefined) lastOf.delete(good.storeId)
    if (lastOf.size === 0) return
  }
  for (const [storeId, backupId] of lastOf) {
    throw new BackupProtectedError(`Cannot delete backup ${backupId}: it is the last good one of the store "${storeId}" at ${JSON.stringify(destination.url)}`, {
      details: { backupId, storeId },
    })
  }
}

/** Once it has begun, a deletion is not aborted. */
async function deleteOne({ backupId, isListed, good }: Candidate, { destination, catalog, signal }: DeleteBackupsOptions, log: JobLog): Promise<DeleteReport> {
  signal?.throwIfAborted()
  const place = { backupId, destination: destination.url }
  await log.progress({ phase: 'delete', bytes: 0, records: 0, backupId, storeId: good?.storeId })
  const recorded = await catalog?.backup(backupId, destination.url)
  const isRecorded = recorded !== undefined && recorded.deletedAt === undefined
  // Before anything is removed: from now on the backup may be gone, but holds its payloads as long as it is listed.
  if (isRecorded) await catalog?.append({ type: 'backup-deletion-started', at: log.now(), ...place })
  await destination.delete(backupId)
  if (isRecorded) await catalog?.append({ type: 'backup-deleted', at: log.now(), ...place })
  return { jobId: log.jobId, backupId, wasListed: isListed, warnings: destinationWarnings(destination) }
}

function recordedByNewer(backupId: string): BackupProtectedError {
  return new BackupProtectedError(`Cannot delete backup ${backupId}: a newer release recorded something of it in the catalog, such as that it is to be kept`, {
    hint: 'Delete it with that release, or use --force (force: true)',
  })
}

function beingUsed(backupId: string, purpose: Lease['purpose']): BackupProtectedError {
  return new BackupProtectedError(`Cannot delete backup ${backupId}: it is being ${purpose === 'backup' ? 'taken' : 'restored'}`, {
    hint: `Let the ${purpose} end; if it crashed, the next backup or sweep releases its lease`,
    retryable: true,
  })
}
