/** The orchestrated restore: from a published backup to the live store of a server. */
import { checkBackupId, newUlid } from '../util/ulid.ts'
import type { Catalog } from '../contracts/catalog.ts'
import type { Destination } from '../contracts/destination.ts'
import { recordCount } from '../contracts/manifest.ts'
import { toError } from '../errors/error-message.ts'
import { failureAfter, undoOnError } from '../errors/clean-up.ts'
import type { Holds } from '../gc/holds/holds.ts'
import type { SideEngine, Swappable } from '../contracts/swappable.ts'
import { drainTimeoutOf } from './drain-timeout.ts'
import { exclusively } from './run-exclusively.ts'
import { held } from './with-hold.ts'
import { type RestorePlan, prepare } from './plan-restore.ts'
import { type LastProgress, recorded } from './record-job.ts'
import { recoverInterrupted } from './recover.ts'
import { checkRestored, fillFromBackup } from '../repository/restore-content.ts'
import { type RestoreProgress, StepRunner, type StepTime } from './steps.ts'
import { swapIn } from './swap-in.ts'

export interface RestoreBackupOptions {
  /** The store to be replaced: a live handle, or a home without a server. */
  readonly target: Swappable
  readonly destination: Destination
  readonly backupId: string
  /** Where the attempt is recorded. One that cannot be written to is no reason not to restore: see `warnings`. @default nowhere */
  readonly catalog?: Catalog | undefined
  /**
   * What keeps the payloads of the backup from being deleted until the restored engine is live. @default a lease in the catalog, as far as that can be
   * written to; without a catalog nothing: then nothing may delete payloads meanwhile
   */
  readonly holds?: Holds | undefined
  /** Whether a backup of another store may be restored; the target keeps its own ID. @default false */
  readonly allowStoreId?: boolean | undefined
  /** Whether a backup that is not as the catalog recorded it may be restored. @default false */
  readonly allowAltered?: boolean | undefined
  /** `none` where the server has stopped writing already; the full stop before the swap is made all the same. @default 'writes' */
  readonly drain?: 'writes' | 'none' | undefined
  /** How long operations in flight may take to end, of each drain. @default 30,000 */
  readonly drainTimeoutMs?: number | undefined
  /** Ends the restore until its full stop begins; it rejects with the signal's reason. Later it is not looked at. */
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: RestoreProgress) => void) | undefined
  /** The time in milliseconds since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined
}

export interface RestoreReport {
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
  /** What did not go as it should and does no harm, such as an old engine that could not be removed. */
  readonly warnings: readonly Error[]
}

/**
 * Restores a backup into a store that may be in service.
 *
 * The backup is restored into an engine of its own and checked in full there, while reads go on; then, in a full stop of milliseconds, that
 * engine is swapped in and the one before is kept for `rollback`. Until the swap nothing of the store changes: on every failure
 * the side engine is removed and the store goes on as it was. A failure after it says which engine is live. The store is resumed in any case.
 * The job ends as `succeeded`, `failed`, or, when the signal aborted, `interrupted`.
 *
 * Rejects with `restore_in_progress` and `invalid_argument`, which are no attempt yet; `hold_unavailable` when a running sweep does not let it hold the
 * payloads; before anything is touched with `manifest_missing`, `manifest_invalid`,
 * `manifest_version_unsupported`, `manifest_feature_unsupported`, `backup_altered`, `backup_incomplete`, `store_kind_mismatch`, `store_id_mismatch`, `schema_version_mismatch`,
 * `destination_no_space`; then with `store_not_drained`, `restore_corrupt`, `checksum_mismatch`, `store_unavailable`, and what
 * the destination rejects with.
 */
export async function restoreBackup(options: RestoreBackupOptions): Promise<RestoreReport> {
  const { target, destination, backupId, catalog, holds, signal, clock = Date.now } = options
  checkBackupId(backupId)
  const drainTimeoutMs = drainTimeoutOf(options)
  return await exclusively(target, async () => {
    signal?.throwIfAborted()
    const run = (): Promise<RestoreReport> => held(target, { purpose: 'restore', backupId, holds, catalog, clock, signal }, () => restore({ ...options, drainTimeoutMs }))
    return await recorded(target, { kind: 'restore', destination: destination.url, backupId }, { catalog, clock, signal, run, lastProgress })
  })
}

function lastProgress({ storeId, bytes, records }: RestoreReport): LastProgress {
  return { phase: 'resume', storeId, bytes, records: recordCount({ records }) }
}

async function restore(options: RestoreBackupOptions & { readonly drainTimeoutMs: number }): Promise<RestoreReport> {
  const { target, drain = 'writes', drainTimeoutMs, clock = Date.now } = options
  await recoverInterrupted(target, { drainTimeoutMs })
  const startedAtMs = clock()
  const startedAt = performance.now()
  const restoreId = newUlid(startedAtMs)
  const steps = new StepRunner(options.onProgress)
  const plan = await steps.run('prepare', () => prepare(options))
  try {
    if (drain === 'writes') await steps.run('drain-writes', () => target.drainWrites({ timeoutMs: drainTimeoutMs }))
    const warnings = await replaceEngine(options, plan, { restoreId, startedAtMs, drainTimeoutMs, steps })
    return report(plan, { restoreId, startedAtMs, durationMs: performance.now() - startedAt, steps, warnings })
  } finally {
    await steps.runAnyway('resume', () => target.resume())
  }
}

interface Attempt {
  readonly restoreId: string
  readonly startedAtMs: number
  readonly drainTimeoutMs: number
  readonly steps: StepRunner
}

/** From the side engine to the swap; resolves with warnings. */
async function replaceEngine(options: RestoreBackupOptions, plan: RestorePlan, attempt: Attempt): Promise<readonly Error[]> {
  const { target, backupId } = options
  const { restoreId, startedAtMs, drainTimeoutMs, steps } = attempt
  const { live: from, previous } = plan.engines
  const side = await steps.run('side-engine', () => target.openSide(restoreId, { storeId: plan.storeId }))
  const left = `the live store is as it was, and the next start removes the side engine "${side.engine}", which could not be done now`
  await undoOnError(() => fill(side, options, plan, steps), () => side.discard(), left)
  const journal = { restoreId, backupId, from, to: restoreId, startedAtMs }
  const outcome = await swapIn(target, { journal, storeId: plan.storeId, previous, drainTimeoutMs }, steps)
  if (!outcome.swapped) throw outcome.kept ? outcome.error : await failureAfter(outcome.error, () => side.discard(), left)
  return [...outcome.warnings, ...(await removeOld(target, previous))]
}

/** Fills, checks and seals the side engine. */
async function fill(side: SideEngine, { signal }: RestoreBackupOptions, { backup }: RestorePlan, steps: StepRunner): Promise<void> {
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

function report({ backup: { manifest }, engines, storeId }: RestorePlan, done: Omit<Attempt, 'drainTimeoutMs'> & { readonly durationMs: number; readonly warnings: readonly Error[] }): RestoreReport {
  const { restoreId, startedAtMs, durationMs, steps, warnings } = done
  return {
    restoreId,
    backupId: manifest.backupId,
    storeId,
    live: restoreId,
    previous: engines.live,
    bytes: manifest.payload.bytes,
    records: manifest.records,
    payloadIds: { count: manifest.payloadIds.count, digest: manifest.payloadIds.sha256 },
    startedAtMs,
    durationMs,
    stoppedMs: steps.total('drain', 'journal', 'swap', 'check-live', 'clear-journal'),
    steps: steps.times,
    warnings,
  }
}
