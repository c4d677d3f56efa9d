/** Restores a published backup into the live store of a server. */
import type { Destination } from '../contracts/destination.ts'
import { recordCount } from '../contracts/manifest.ts'
import type { SideEngine, Swappable } from '../contracts/swappable.ts'
import { afterwards, failureAfter, undoOnError } from '../errors/clean-up.ts'
import { toError } from '../errors/error-message.ts'
import { BackupUnsupportedError } from '../errors/errors.ts'
import { checkRestored, fillFromBackup } from '../repository/restore-content.ts'
import type { StoredBackup } from '../repository/stored-backup.ts'
import { FUNCTION, NUMBER, OBJECT, type OptionKinds, STRING, checkArgument, checkOptions, oneOf, optional } from '../util/check-options.ts'
import { checkBackupId, newUlid } from '../util/ulid.ts'
import { ATTEMPT_OPTIONS, attempt, type AttemptOptions, type AttemptReport } from './attempt.ts'
import { backupOf, checkPlan, PLAN_OPTIONS, planRestore, type PlanRestoreOptions, type RestorePlan } from './plan-restore.ts'
import { drainTimeoutOf, NOT_SERVING, recoverInterrupted } from './recover.ts'
import { type RestoreProgress, StepRunner, type StepTime } from './steps.ts'
import { swapIn } from './swap-in.ts'

/** The backup to restore: an ID, or a plan that was made, shown and confirmed before. */
type Planned =
  | (Pick<PlanRestoreOptions, 'backupId' | 'allowStoreId' | 'allowAltered'> & { readonly plan?: undefined })
  | { readonly plan: RestorePlan; readonly backupId?: undefined; readonly allowStoreId?: undefined; readonly allowAltered?: undefined }

export type RestoreBackupOptions = AttemptOptions &
  Planned & {
    /** The store to be replaced: a live handle, or a home without a server. */
    readonly target: Swappable
    readonly destination: Destination
    /** `none` if the server has stopped writing already; the full stop before the swap happens anyway. @default 'writes' */
    readonly drain?: 'writes' | 'none' | undefined
    /** The time for operations in flight to end, in each drain. @default 30,000 */
    readonly drainTimeoutMs?: number | undefined
    /** Ends the restore with `backup_aborted`. Has no effect once the full stop has begun. */
    readonly signal?: AbortSignal | undefined
    readonly onProgress?: ((progress: RestoreProgress) => void) | undefined
  }

const OPTIONS: OptionKinds<RestoreBackupOptions> = {
  ...PLAN_OPTIONS,
  ...ATTEMPT_OPTIONS,
  target: OBJECT,
  backupId: optional(PLAN_OPTIONS.backupId),
  plan: optional(OBJECT),
  drain: optional(oneOf(['writes', 'none'])),
  drainTimeoutMs: optional(NUMBER),
  onProgress: optional(FUNCTION),
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
  /** Milliseconds during which every operation was held back. */
  readonly stoppedMs: number
  readonly steps: readonly StepTime[]
}

/**
 * Restores a backup into a store that may be in service.
 *
 * The backup is restored into an engine of its own and checked in full there, while reads go on; then, in a full stop of milliseconds, that
 * engine is swapped in and the old one is kept for `rollback`. The store does not change before the swap: a failure removes the side
 * engine. A failure after the swap says which engine is live. The store always resumes. The job ends as `succeeded`, `failed`, or, when the
 * signal aborted, `interrupted`; the rejection has its ID (`jobIdOf`).
 *
 * Rejects, before the job begins, with `restore_in_progress` and `invalid_argument`; with `hold_unavailable` when a running sweep does not
 * answer; before anything is touched, with `restore_plan_stale` when the store changed after planning, and as `planRestore` does; then with
 * `store_not_drained`, `restore_corrupt`, `checksum_mismatch`, `store_unavailable`, `backup_aborted`, and what the destination rejects
 * with. A backup that changed since a plan was made is refused by its digests, before the swap.
 */
export async function restoreBackup(options: RestoreBackupOptions): Promise<RestoreReport> {
  checkOptions('restoreBackup', options, OPTIONS)
  const { target, destination, signal } = options
  if (typeof target.readStoreId !== 'function') {
    throw new BackupUnsupportedError('Cannot restore into this target: it has no engines that can be swapped', {
      hint: 'Give a store or a home of Holdfast; restoreInto restores into an empty database of your own',
    })
  }
  const { backupId } = options.plan ?? options
  checkArgument('restoreBackup', backupId, { name: options.plan === undefined ? 'backupId' : 'plan.backupId', kind: STRING })
  checkBackupId(backupId)
  const drainTimeoutMs = drainTimeoutOf(options)
  const job = { kind: 'restore', storeKind: target.kind, destination: destination.url, backupId } as const
  return await attempt({
    target,
    job,
    readStoreId: () => target.readStoreId(),
    signal,
    run: () => restore(options, { backupId, drainTimeoutMs }),
    lastProgress: ({ storeId, bytes, records }) => ({ phase: 'resume', storeId, bytes, records: recordCount({ records }) }),
  }, options)
}

async function restore(
  options: RestoreBackupOptions,
  { backupId, drainTimeoutMs }: { readonly backupId: string; readonly drainTimeoutMs: number },
): Promise<Omit<RestoreReport, 'jobId'>> {
  const { target, destination, drain = 'writes', clock = Date.now, signal } = options
  await recoverInterrupted(target, { drainTimeoutMs })
  const startedAtMs = clock()
  const startedAt = performance.now()
  const restoreId = newUlid(startedAtMs)
  const steps = new StepRunner(options.onProgress)
  const plan = await steps.run('prepare', () => preparePlan(options, backupId))
  const { manifest, storeId, target: before } = plan
  const swap = async (): Promise<Omit<RestoreReport, 'jobId'>> => {
    if (drain === 'writes') await steps.run('drain-writes', () => target.drainWrites({ timeoutMs: drainTimeoutMs }))
    const side = await steps.run('side-engine', () => target.openSide(restoreId, { storeId }))
    const left = `the live store is unchanged; the side engine "${side.engine}" could not be removed, and the next start removes it`
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
  }
  return await afterwards(swap, () => steps.runAnyway('resume', () => target.resume()), { left: NOT_SERVING })
}

/** Checks the given plan, or makes one. */
async function preparePlan(
  { plan, target, destination, catalog, allowStoreId, allowAltered, signal }: RestoreBackupOptions,
  backupId: string,
): Promise<RestorePlan> {
  return await (plan === undefined ? planRestore({ target, destination, catalog, allowStoreId, allowAltered, signal, backupId }) : checkPlan(plan, { target, destination, catalog }))
}

/** Fills, checks and seals the side engine. */
async function fill(
  side: SideEngine,
  backup: StoredBackup,
  { steps, signal }: { readonly steps: StepRunner; readonly signal: AbortSignal | undefined },
): Promise<void> {
  await steps.run('restore', async (onProgress) => {
    await backup.checkPayloadIds({ signal })
    await fillFromBackup(side, backup, { signal, onProgress })
  })
  await steps.run('check', (onProgress) => checkRestored(side, backup, { signal, onProgress }))
  await steps.run('seal', () => side.seal())
  signal?.throwIfAborted()
}

/** Removes the engine kept until now. A failure is harmless: the next start removes it. */
async function removeOld(target: Swappable, engine: string | undefined): Promise<readonly Error[]> {
  if (engine === undefined) return []
  try {
    await target.removeEngine(engine)
    return []
  } catch (error) {
    return [toError(error)]
  }
}
