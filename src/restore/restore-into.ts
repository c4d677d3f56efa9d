/** Restores a published backup into an empty database of an embedder. */
import { type Backupable, isBackupable } from '../contracts/backupable.ts'
import type { Destination } from '../contracts/destination.ts'
import { recordCount } from '../contracts/manifest.ts'
import { isAbort } from '../errors/aborts.ts'
import { messageOf } from '../errors/error-message.ts'
import { BackupAbortedError, BackupUnsupportedError, CombinedError } from '../errors/errors.ts'
import { checkRestored, fillFromBackup } from '../repository/restore-content.ts'
import { openBackup, type StoredBackup } from '../repository/stored-backup.ts'
import { FUNCTION, OBJECT, type OptionKinds, checkOptions, optional } from '../util/check-options.ts'
import { checkBackupId } from '../util/ulid.ts'
import { ATTEMPT_OPTIONS, attempt, type AttemptOptions, type AttemptReport } from './attempt.ts'
import { checkStoreId, compareIfPossible, PLAN_OPTIONS } from './plan-restore.ts'
import { type StepProgress, StepRunner, type StepTime } from './steps.ts'

/** The steps in order. */
export const RESTORE_INTO_STEPS = ['prepare', 'restore', 'check'] as const
export type RestoreIntoStep = (typeof RESTORE_INTO_STEPS)[number]

export interface RestoreIntoOptions extends AttemptOptions {
  /** The empty database, such as one of `levelBackupable` or `postgresBackupable`. */
  readonly target: Backupable
  readonly destination: Destination
  readonly backupId: string
  /** Whether a backup of another store may be restored. @default false */
  readonly allowStoreId?: boolean | undefined
  /** Whether a backup that differs from the catalog's record may be restored. @default false */
  readonly allowAltered?: boolean | undefined
  /** Ends the restore with `backup_aborted`. */
  readonly signal?: AbortSignal | undefined
  /** `totalBytes` is known in `restore` and `check`. */
  readonly onProgress?: ((progress: StepProgress<RestoreIntoStep>) => void) | undefined
}

const OPTIONS: OptionKinds<RestoreIntoOptions> = { ...PLAN_OPTIONS, ...ATTEMPT_OPTIONS, target: OBJECT, onProgress: optional(FUNCTION) }

export interface RestoreIntoReport extends AttemptReport {
  readonly backupId: string
  /** The store that was backed up. */
  readonly storeId: string
  readonly bytes: number
  readonly records: Readonly<Record<string, number>>
  readonly payloadIds: { readonly count: number; readonly digest: string }
  readonly durationMs: number
  readonly steps: readonly StepTime<RestoreIntoStep>[]
}

/**
 * Restores a backup into an empty database: checks the backup, fills the database, and reads it again to compare it with the manifest. Runs
 * as a job of the catalog, under a lease on all payloads. Nothing is swapped: the server opens the database when this has resolved. It is
 * durable when the database says so; a LevelDB is after `close`, and a sync of its files.
 *
 * The database is left empty by a failure, but for one of the step `check`, whose message says so. The rejection has the job's ID
 * (`jobIdOf`).
 *
 * Rejects as every attempt does (`restore_in_progress`, `hold_unavailable`, `backup_aborted`); with `backup_unsupported` for a target
 * without backup and restore, `invalid_argument` for a malformed backup ID, `manifest_missing`, `manifest_invalid`,
 * `manifest_version_unsupported`, `manifest_feature_unsupported`, `backup_altered`, `backup_incomplete`; `store_id_mismatch` where the
 * target says its ID; `restore_destination_not_empty`, `store_kind_mismatch`, `schema_version_mismatch`, `restore_corrupt`,
 * `checksum_mismatch`; and with what the target and the destination reject with.
 */
export async function restoreInto(options: RestoreIntoOptions): Promise<RestoreIntoReport> {
  checkOptions('restoreInto', options, OPTIONS)
  const { target, destination, signal } = options
  if (!isBackupable(target)) throw new BackupUnsupportedError('Cannot restore into this target: it has no backup and restore')
  const backupId = checkBackupId(options.backupId)
  const job = { kind: 'restore', storeKind: target.kind, destination: destination.url, backupId } as const
  return await attempt({ target, job, readStoreId: async () => target.storeId, signal, run: () => restore(options), lastProgress }, options)
}

type Restored = Omit<RestoreIntoReport, 'jobId'>

function lastProgress({ storeId, bytes, records }: Restored): { readonly phase: 'check'; readonly storeId: string; readonly bytes: number; readonly records: number } {
  return { phase: 'check', storeId, bytes, records: recordCount({ records }) }
}

async function restore(options: RestoreIntoOptions): Promise<Restored> {
  const { target, signal, onProgress } = options
  const startedAt = performance.now()
  const steps = new StepRunner(onProgress)
  const backup = await steps.run('prepare', () => prepare(options))
  await steps.run('restore', async (tell) => {
    await backup.checkPayloadIds({ signal })
    await fillFromBackup(target, backup, { signal, onProgress: tell })
  })
  try {
    await steps.run('check', (tell) => checkRestored(target, backup, { signal, onProgress: tell }))
  } catch (error) {
    throw filledAndFailed(error, signal)
  }
  const { manifest, backupId } = backup
  const payloadIds = { count: manifest.payloadIds.count, digest: manifest.payloadIds.set }
  return { backupId, storeId: manifest.storeId, bytes: manifest.payload.bytes, records: manifest.records, payloadIds, durationMs: performance.now() - startedAt, steps: steps.times, warnings: [] }
}

/** Says of a failure that what was restored is still there: a `Backupable` can be filled, but not emptied. */
function filledAndFailed(error: unknown, signal: AbortSignal | undefined): Error {
  const left = 'what was restored is in the database, unproven'
  const hint = 'Empty the database before you restore into it again'
  if (isAbort(error, signal)) return new BackupAbortedError(`The restore was cancelled; ${left}`, { cause: error, hint })
  return new CombinedError(`${messageOf(error)}; ${left}`, [error], { hint })
}

/** Makes the refusals that need no reading of the backup. */
async function prepare({ target, destination, backupId, catalog, allowStoreId = false, allowAltered = false, signal }: RestoreIntoOptions): Promise<StoredBackup> {
  const backup = await openBackup({ destination, backupId, signal })
  if (!allowAltered) await compareIfPossible(backup, catalog)
  checkStoreId(backup.manifest, { targetId: target.storeId, allowStoreId })
  await backup.checkSizes({ signal })
  return backup
}
