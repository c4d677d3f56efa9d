/** Going back to the engine before the last restore. */
import { newUlid } from '../util/ulid.ts'
import type { Catalog } from '../contracts/catalog.ts'
import { RollbackUnavailableError } from '../errors/errors.ts'
import type { Holds } from '../gc/holds/holds.ts'
import type { Swappable } from '../contracts/swappable.ts'
import { drainTimeoutOf } from './drain-timeout.ts'
import { exclusively } from './run-exclusively.ts'
import { held } from './with-hold.ts'
import { type LastProgress, recorded } from './record-job.ts'
import { recoverInterrupted } from './recover.ts'
import { type RestoreProgress, StepRunner, type StepTime } from './steps.ts'
import { swapIn } from './swap-in.ts'

export interface RollbackOptions {
  readonly target: Swappable
  /** Where the attempt is recorded. One that cannot be written to is no reason not to roll back: see `warnings`. @default nowhere */
  readonly catalog?: Catalog | undefined
  /** What keeps payloads from being deleted until the engine is live: needed where a sweep does not ask for what is kept. @default as for `restoreBackup` */
  readonly holds?: Holds | undefined
  /** How long operations in flight may take to end. @default 30,000 */
  readonly drainTimeoutMs?: number | undefined
  readonly onProgress?: ((progress: RestoreProgress) => void) | undefined
  /** The time in milliseconds since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined
}

export interface RollbackReport {
  readonly restoreId: string
  readonly storeId: string
  /** The engine that is live now. */
  readonly live: string
  /** The engine that was live before: another rollback makes it live again. */
  readonly previous: string
  /** How long every operation was held back, milliseconds. */
  readonly stoppedMs: number
  readonly steps: readonly StepTime[]
  /** What did not go as it should and does no harm. */
  readonly warnings: readonly Error[]
}

/**
 * Makes the previous engine live again and keeps the live one as the previous, with the same journal as a restore: rolling back twice changes
 * nothing. What was written since the restore is in the engine that is kept.
 *
 * Rejects with `rollback_unavailable` when no engine is kept, `restore_in_progress`, `store_not_drained`, and `store_unavailable` when
 * the engine does not serve, swapped back by then; `hold_unavailable` when a running sweep does not let it hold the payloads.
 */
export async function rollback(options: RollbackOptions): Promise<RollbackReport> {
  const { target, catalog, holds, clock = Date.now } = options
  const drainTimeoutMs = drainTimeoutOf(options)
  const run = (): Promise<RollbackReport> => held(target, { purpose: 'rollback', holds, catalog, clock }, () => swapPrevious({ ...options, drainTimeoutMs }))
  return await exclusively(target, () => recorded(target, { kind: 'rollback' }, { catalog, clock, run, lastProgress }))
}

function lastProgress({ storeId }: RollbackReport): LastProgress {
  return { phase: 'resume', storeId, bytes: 0, records: 0 }
}

async function swapPrevious({ target, drainTimeoutMs, onProgress, clock = Date.now }: RollbackOptions & { readonly drainTimeoutMs: number }): Promise<RollbackReport> {
  await recoverInterrupted(target, { drainTimeoutMs })
  const steps = new StepRunner(onProgress)
  const { live, previous } = await target.engines()
  const storeId = await target.readStoreId()
  if (live === undefined || previous === undefined || storeId === undefined) {
    throw new RollbackUnavailableError('Cannot roll back: the store keeps no engine from before a restore')
  }
  const startedAtMs = clock()
  const restoreId = newUlid(startedAtMs)
  const journal = { restoreId, backupId: undefined, from: live, to: previous, startedAtMs }
  try {
    await steps.run('drain-writes', () => target.drainWrites({ timeoutMs: drainTimeoutMs }))
    const outcome = await swapIn(target, { journal, storeId, previous, drainTimeoutMs }, steps)
    if (!outcome.swapped) throw outcome.error
    const stoppedMs = steps.total('drain', 'journal', 'swap', 'check-live', 'clear-journal')
    return { restoreId, storeId, live: previous, previous: live, stoppedMs, steps: steps.times, warnings: outcome.warnings }
  } finally {
    await steps.runAnyway('resume', () => target.resume())
  }
}
