/** What an interrupted restore or rollback left: completed or undone, by the journal and never by a guess. */
import { StoreUnavailableError, isHoldfastError } from '../errors/errors.ts'
import type { RestoreJournal, Swappable } from '../contracts/swappable.ts'
import { checkWaitMs } from '../util/check-number.ts'
import { runExclusively } from './run-exclusively.ts'
import { swapBack } from './swap-in.ts'

export interface RecoverOptions {
  /** How long operations in flight may take to end, where the store is served already. @default 30,000 */
  readonly drainTimeoutMs?: number | undefined
}

export type RecoveryOutcome = 'nothing-to-do' | 'completed' | 'undone'

export interface RecoveryReport {
  readonly outcome: RecoveryOutcome
  /** What was interrupted. */
  readonly journal: RestoreJournal | undefined
  /** Why the engine that was swapped in did not serve, where that is why it was undone. */
  readonly reason: unknown
}

/**
 * Ends what a crash interrupted: where the swap was made and the new engine serves, the restore is completed; otherwise it is
 * undone. Run when a store is opened, before anything is served. Cut off itself, it can be run again.
 *
 * Rejects with what the new engine failed with where that may pass, such as a connection that broke: it says nothing of the engine. The next
 * run decides.
 */
export async function recover(target: Swappable, options: RecoverOptions = {}): Promise<RecoveryReport> {
  return await runExclusively(target, () => recoverInterrupted(target, options))
}

/** The same, for a caller that has the target for itself. */
export async function recoverInterrupted(target: Swappable, options: RecoverOptions = {}): Promise<RecoveryReport> {
  const timeoutMs = drainTimeoutOf(options)
  const journal = await target.readJournal()
  if (journal === undefined) return { outcome: 'nothing-to-do', journal, reason: undefined }
  await target.drain({ timeoutMs })
  try {
    return await decide(target, journal)
  } finally {
    await target.resume()
  }
}

async function decide(target: Swappable, journal: RestoreJournal): Promise<RecoveryReport> {
  const { live, previous } = await target.engines()
  if (live === journal.to) {
    const reason = await complete(target, journal)
    return { outcome: reason === undefined ? 'completed' : 'undone', journal, reason: reason?.error }
  }
  if (live !== journal.from) {
    throw new StoreUnavailableError(`Cannot recover the restore ${journal.restoreId}: engine "${live}" is live, and the journal knows "${journal.from}" and "${journal.to}" only`, {
      hint: 'Put the pointer that belongs to the journal back; no engine was changed or removed',
    })
  }
  // Swapping the live engine in again changes nothing on the disk, and makes a handle serve it that was in doubt.
  await swapBack(target, { from: live, storeId: await storeIdOf(target), previous })
  if (journal.to !== previous) await target.removeEngine(journal.to)
  await target.clearJournal()
  return { outcome: 'undone', journal, reason: undefined }
}

/** Checks what was swapped in; when it does not serve, swaps back, keeps both, and returns why. Throws, with all as it was, what may pass. */
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
