/** Goes back to the engine before the last restore. */
import { SWAPPABLE } from '../contracts/kinds.ts'
import type { Swappable } from '../contracts/swappable.ts'
import { RollbackUnavailableError, StoreUnavailableError } from '../errors/errors.ts'
import { FUNCTION, NUMBER, type OptionKinds, checkOptions, optional } from '../util/check-options.ts'
import { newUlid } from '../util/ulid.ts'
import { afterwards } from '../errors/clean-up.ts'
import { ATTEMPT_OPTIONS, attempt, type AttemptOptions, type AttemptReport } from './attempt.ts'
import { drainTimeoutOf, NOT_SERVING, recoverInterrupted } from './recover.ts'
import { type RestoreProgress, StepRunner, type StepTime } from './steps.ts'
import { swapIn } from './swap-in.ts'

export interface RollbackOptions extends AttemptOptions {
  readonly target: Swappable
  /** The time for operations in flight to end. @default 30,000 */
  readonly drainTimeoutMs?: number | undefined
  readonly onProgress?: ((progress: RestoreProgress) => void) | undefined
}

const OPTIONS: OptionKinds<RollbackOptions> = { ...ATTEMPT_OPTIONS, target: SWAPPABLE, drainTimeoutMs: optional(NUMBER), onProgress: optional(FUNCTION) }

export interface RollbackReport extends AttemptReport {
  readonly restoreId: string
  readonly storeId: string
  /** The engine that is live now. */
  readonly live: string
  /** The engine that was live before: another rollback makes it live again. */
  readonly previous: string
  /** Milliseconds during which every operation was held back. */
  readonly stoppedMs: number
  readonly steps: readonly StepTime[]
}

/**
 * Makes the previous engine live again and keeps the live one as the previous, with the same journal as a restore: a second rollback undoes
 * the first. Writes since the restore are in the kept engine.
 *
 * Rejects with `rollback_unavailable` when no engine is kept, `restore_in_progress`, `store_not_drained`, `store_unavailable` when there
 * is no store or the engine does not serve and was swapped back, and `hold_unavailable` when a running sweep does not answer. The rejection
 * has the ID of the job (`jobIdOf`).
 */
export async function rollback(options: RollbackOptions): Promise<RollbackReport> {
  checkOptions('rollback', options, OPTIONS)
  const { target } = options
  const drainTimeoutMs = drainTimeoutOf(options)
  const job = { kind: 'rollback', storeKind: target.kind } as const
  return await attempt({
    target,
    job,
    readStoreId: () => target.readStoreId(),
    run: () => swapPrevious({ ...options, drainTimeoutMs }),
    lastProgress: ({ storeId }) => ({ phase: 'resume', storeId, bytes: 0, records: 0 }),
  }, options)
}

async function swapPrevious({ target, drainTimeoutMs, onProgress, clock = Date.now }: RollbackOptions & { readonly drainTimeoutMs: number }): Promise<Omit<RollbackReport, 'jobId'>> {
  await recoverInterrupted(target, { drainTimeoutMs })
  const steps = new StepRunner(onProgress)
  const { live, previous } = await target.engines()
  const storeId = await target.readStoreId()
  if (live === undefined || storeId === undefined) {
    throw new StoreUnavailableError('Cannot roll back: the store does not exist', {
      hint: 'Check the path of the store; if it was lost, restore a backup',
    })
  }
  if (previous === undefined) throw new RollbackUnavailableError('Cannot roll back: the store does not keep a previous engine')
  const startedAtMs = clock()
  const restoreId = newUlid(startedAtMs)
  const journal = { restoreId, backupId: undefined, from: live, to: previous, startedAtMs }
  const swap = async (): Promise<Omit<RollbackReport, 'jobId'>> => {
    await steps.run('drain-writes', () => target.drainWrites({ timeoutMs: drainTimeoutMs }))
    const outcome = await swapIn(target, { journal, storeId, previous, drainTimeoutMs }, steps)
    if (!outcome.swapped) throw outcome.error
    const stoppedMs = steps.total('drain', 'journal', 'swap', 'check-live', 'clear-journal')
    return { restoreId, storeId, live: previous, previous: live, stoppedMs, steps: steps.times, warnings: outcome.warnings }
  }
  return await afterwards(swap, () => steps.runAnyway('resume', () => target.resume()), { left: NOT_SERVING })
}
