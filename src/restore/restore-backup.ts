/** The orchestrated restore: from a published backup to the live store of a server. */
import type { Destination } from '../contracts/destination.ts'
import { recordCount } from '../contracts/manifest.ts'
import type { SideEngine, Swappable } from '../contracts/swappable.ts'
import { failureAfter, undoOnError } from '../errors/clean-up.ts'
import { toError } from '../errors/error-message.ts'
import { checkRestored, fillFromBackup } from '../repository/restore-content.ts'
import type { StoredBackup } from '../repository/stored-backup.ts'
import { checkBackupId, newUlid } from '../util/ulid.ts'
import { attempt, type AttemptOptions, type AttemptReport } from './attempt.ts'
import { backupOf, checkPlan, planRestore, type PlanRestoreOptions, type RestorePlan } from './plan-restore.ts'
import { drainTimeoutOf, recoverInterrupted } from './recover.ts'
import { type RestoreProgress, StepRunner, type StepTime } from './steps.ts'
import { swapIn } from './swap-in.ts'

/** Which backup: one to be planned now, or a plan that was made, shown and confirmed before. */
type Planned =
  | (Pick<PlanRestoreOptions, 'backupId' | 'allowStoreId' | 'allowAltered'> & { readonly plan?: undefined })
  | { readonly plan: RestorePlan; readonly backupId?: undefined; readonly allowStoreId?: undefined; readonly allowAltered?: undefined }

export type RestoreBackupOptions = AttemptOptions &
  Planned & {
    /** The store to be replaced: a live handle, or a home without a server. */
    readonly target: Swappable
    readonly destination: Destination
    /** `none` where the server has stopped writing already; the full stop before the swap is made all the same. @default 'writes' */
    readonly drain?: 'writes' | 'none' | undefined
    /** How long operations in flight may take to end, of each drain. @default 30,000 */
    readonly drainTimeoutMs?: number | undefined
    /** Ends the restore, with `backup_aborted`, until its full stop begins. Later it is not looked at. */
    readonly signal?: AbortSignal | undefined
    readonly onProgress?: ((progress: RestoreProgress) => void) | undefined
  }

export interface RestoreReport extends AttemptReport {
  readonly restoreId: string
  readonly backupId: string
  readonly storeId: string
  /** The engine that is live now. */
  readonly live: string
  /** The engine that was live before, kept for `rollback`; `undefined` where there was no store. */
  readonly previous: string | undefined
  readonly bytes: number
  readonly records: Readonly<Record<string, number>>
  readonly payloadIds: { readonly count: number; readonly digest: string }
  readonly startedAtMs: number
  readonly durationMs: number
  /** How long every operation was held back, milliseconds. */
  readonly stoppedMs: number
  readonly steps: readonly StepTime[]
}

/**
 * Restores a backup into a store that may be in service.
 *
 * The backup is restored into an engine of its own and checked in full there, while reads go on; then, in a full stop of milliseconds, that
 * engine is swapped in and the one before is kept for `rollback`. Until the swap nothing of the store changes: on every failure
 * the side engine is removed and the store goes on as it was. A failure after it says which engine is live. The store is resumed in any case.
 * The job ends as `succeeded`, `failed`, or, when the signal aborted, `interrupted`; the rejection has its ID (`jobIdOf`).
 *
 * Rejects with `restore_in_progress` and `invalid_argument`, which are no attempt yet; `hold_unavailable` when a running sweep does not let it hold the
 * payloads; before anything is touched with `restore_plan_stale` when the store is not as a plan found it, and with what `planRestore` rejects with; then with
 * `store_not_drained`, `restore_corrupt`, `checksum_mismatch`, `store_unavailable`, `backup_aborted`, and what the destination rejects with. A backup that
 * changed since a plan was made is refused by its digests, before the swap.
 */
export async function restoreBackup(options: RestoreBackupOptions): Promise<RestoreReport> {
  const { target, destination, signal } = options
  const backupId = checkBackupId(options.plan?.backupId ?? options.backupId ?? '')
  const drainTimeoutMs = drainTimeoutOf(options)
  const job = { kind: 'restore', storeKind: target.kind, destination: destination.url, backupId } as const
  const readStoreId = (): Promise<string | undefined> => target.readStoreId()
  return await attempt({ target, job, readStoreId, signal, run: () => restore(options, { backupId, drainTimeoutMs }), lastProgress }, options)
}

type Restored = Omit<RestoreReport, 'jobId'>

function lastProgress({ storeId, bytes, records }: Restored): { readonly phase: 'resume'; readonly storeId: string; readonly bytes: number; readonly records: number } {
  return { phase: 'resume', storeId, bytes, records: recordCount({ records }) }
}

async function restore(options: RestoreBackupOptions, { backupId, drainTimeoutMs }: { readonly backupId: string; readonly drainTimeoutMs: number }): Promise<Restored> {
  const { target, destination, drain = 'writes', clock = Date.now, signal } = options
  await recoverInterrupted(target, { drainTimeoutMs })
  const startedAtMs = clock()
  const startedAt = performance.now()
  const restoreId = newUlid(startedAtMs)
  const steps = new StepRunner(options.onProgress)
  const plan = await steps.run('prepare', () => preparedPlan(options, backupId))
  const { manifest, storeId, target: before } = plan
  try {
    if (drain === 'writes') await steps.run('drain-writes', () => target.drainWrites({ timeoutMs: drainTimeoutMs }))
    const side = await steps.run('side-engine', () => target.openSide(restoreId, { storeId }))
    const left = `the live store is as it was, and the next start removes the side engine "${side.engine}", which could not be done now`
    await undoOnError(() => fill(side, backupOf(plan, destination), { steps, signal }), () => side.discard(), left)
    const journal = { restoreId, backupId, from: before.live, to: restoreId, startedAtMs }
    const outcome = await swapIn(target, { journal, storeId, previous: before.previous, drainTimeoutMs }, steps)
    if (!outcome.swapped) throw outcome.kept ? outcome.error : await failureAfter(outcome.error, () => side.discard(), left)
    const warnings = [...outcome.warnings, ...(await removeOld(target, before.previous))]
    return {
      restoreId,
      backupId,
      storeId,
      live: restoreId,
      previous: before.live,
      bytes: manifest.payload.bytes,
      records: manifest.records,
      payloadIds: { count: manifest.payloadIds.count, digest: manifest.payloadIds.set },
      startedAtMs,
      durationMs: performance.now() - startedAt,
      stoppedMs: steps.total('drain', 'journal', 'swap', 'check-live', 'clear-journal'),
      steps: steps.times,
      warnings,
    }
  } finally {
    await steps.runAnyway('resume', () => target.resume())
  }
}

/** The plan that was given, if it still holds, or one that is made now. */
async function preparedPlan(options: RestoreBackupOptions, backupId: string): Promise<RestorePlan> {
  const { plan, ...settings } = options
  return plan === undefined ? await planRestore({ ...settings, backupId }) : await checkPlan(plan, settings)
}

/** Fills, checks and seals the side engine. */
async function fill(side: SideEngine, backup: StoredBackup, { steps, signal }: { readonly steps: StepRunner; readonly signal: AbortSignal | undefined }): Promise<void> {
  await steps.run('restore', async (onProgress) => {
    await backup.checkPayloadIds({ signal })
    await fillFromBackup(side, backup, { signal, onProgress })
  })
  await steps.run('check', (onProgress) => checkRestored(side, backup.manifest, { signal, onProgress }))
  await steps.run('seal', () => side.seal())
  signal?.throwIfAborted()
}

/** Removes the engine that was kept until now; that it stays does no harm, for the next start removes it. */
async function removeOld(target: Swappable, engine: string | undefined): Promise<readonly Error[]> {
  if (engine === undefined) return []
  try {
    await target.removeEngine(engine)
    return []
  } catch (error) {
    return [toError(error)]
  }
}
