/** Completes or undoes an interrupted restore or rollback, by its journal and never by a guess. */
import { afterwards } from '../errors/clean-up.ts'
import { StoreUnavailableError, isHoldfastError } from '../errors/errors.ts'
import { SWAPPABLE } from '../contracts/kinds.ts'
import type { RestoreJournal, Swappable } from '../contracts/swappable.ts'
import { checkWaitMs } from '../util/check-number.ts'
import { NUMBER, checkArgument, checkOptions, optional } from '../util/check-options.ts'
import { runExclusively } from './run-exclusively.ts'
import { swapBack } from './swap-in.ts'

export interface RecoverOptions {
  /** The time for operations in flight to end, if the store is in service already. @default 30,000 */
  readonly drainTimeoutMs?: number | undefined
}

export type RecoveryOutcome = 'nothing-to-do' | 'completed' | 'undone'

export interface RecoveryReport {
  readonly outcome: RecoveryOutcome
  /** The journal of the interrupted swap. */
  readonly journal: RestoreJournal | undefined
  /** Why the new engine did not serve, if the swap was undone for that. */
  readonly reason: unknown
}

/**
 * Ends an interrupted restore: completes it if the swap was made and the new engine serves, otherwise undoes it. Runs when a store is
 * opened, before it serves. An interrupted recovery can run again.
 *
 * Rejects with a temporary failure of the new engine, such as a broken connection; the next run decides.
 */
export async function recover(target: Swappable, options: RecoverOptions = {}): Promise<RecoveryReport> {
  checkArgument('recover', target, { name: 'target', kind: SWAPPABLE })
  checkOptions('recover', options, { drainTimeoutMs: optional(NUMBER) })
  return await runExclusively(target, () => recoverInterrupted(target, options))
}

/** What remains when `resume` fails. */
export const NOT_SERVING = 'and the store does not serve until it is opened again'

/** Does the work of `recover`, for a caller that runs exclusively on the target. */
export async function recoverInterrupted(target: Swappable, options: RecoverOptions = {}): Promise<RecoveryReport> {
  const timeoutMs = drainTimeoutOf(options)
  const journal = await target.readJournal()
  if (journal === undefined) return { outcome: 'nothing-to-do', journal, reason: undefined }
  await target.drain({ timeoutMs })
  return await afterwards(() => decide(target, journal), () => target.resume(), { left: NOT_SERVING })
}

async function decide(target: Swappable, journal: RestoreJournal): Promise<RecoveryReport> {
  const { live, previous } = await target.engines()
  if (live === journal.to) {
    const reason = await complete(target, journal)
    return { outcome: reason === undefined ? 'completed' : 'undone', journal, reason: reason?.error }
  }
  if (live !== journal.from) {
    throw new StoreUnavailableError(`Cannot recover the restore ${journal.restoreId}: engine "${live}" is live, but the journal names only "${journal.from}" and "${journal.to}"`, {
      hint: 'Put back the pointer file that belongs to the journal; no engine was changed or removed',
    })
  }
  // Swapping the live engine in again changes nothing on the disk, but makes a handle in doubt serve it.
  await swapBack(target, { from: live, storeId: await storeIdOf(target), previous })
  if (journal.to !== previous) await target.removeEngine(journal.to)
  await target.clearJournal()
  return { outcome: 'undone', journal, reason: undefined }
}

/** Checks the new engine; if it does not serve, swaps back, keeps both, and returns why. Throws temporary failures and changes nothing. */
async function complete(target: Swappable, { from, to }: RestoreJournal): Promise<{ readonly error: unknown } | undefined> {
  const storeId = await storeIdOf(target)
  try {
    await target.swap(to, { storeId, previous: from })
    await target.checkLive()
  } catch (error) {
    if (isHoldfastError(error) && error.retryable) throw error
    await swapBack(target, { from, storeId, previous: to })
    if (from === undefined) await target.removeEngine(to)
    await target.clearJournal()
    return { error }
  }
  await target.clearJournal()
  return undefined
}

const DRAIN_TIMEOUT_MS = 30_000

/** How long operations in flight may take to end. Throws `RangeError` unless that is from 0 to a day. */
export function drainTimeoutOf({ drainTimeoutMs = DRAIN_TIMEOUT_MS }: RecoverOptions): number {
  return checkWaitMs('drainTimeoutMs', drainTimeoutMs)
}

async function storeIdOf(target: Swappable): Promise<string> {
  return (await target.readStoreId()) ?? ''
}
