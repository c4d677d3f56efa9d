/** The full stop of a restore or rollback: journal, swap, check; undone when a step fails. */
import { failureAfter } from '../errors/clean-up.ts'
import { messageOf, toError } from '../errors/error-message.ts'
import { CombinedError } from '../errors/errors.ts'
import type { RestoreJournal, Swappable } from '../contracts/swappable.ts'
import type { StepRunner } from './steps.ts'

export interface SwapIn {
  readonly journal: RestoreJournal
  readonly storeId: string
  /** The previous engine of now, which an undone swap keeps. */
  readonly previous: string | undefined
  readonly drainTimeoutMs: number
}

/** The outcome of a swap. `kept`: the new engine is kept as the previous one. */
export type SwapOutcome = { readonly swapped: true; readonly warnings: readonly Error[] } | { readonly swapped: false; readonly error: unknown; readonly kept: boolean }

/**
 * Makes `journal.to` live. If it does not serve, makes the old engine live again and keeps both. Resolves with the outcome; the target
 * stays drained.
 */
export async function swapIn(target: Swappable, swap: SwapIn, steps: StepRunner): Promise<SwapOutcome> {
  const { journal, storeId, drainTimeoutMs } = swap
  try {
    await steps.run('drain', () => target.drain({ timeoutMs: drainTimeoutMs }))
  } catch (error) {
    return { swapped: false, error, kept: false }
  }
  try {
    await steps.run('journal', () => target.writeJournal(journal))
  } catch (error) {
    // The journal may be there or not.
    const left = 'nothing was swapped; the journal could not be cleared, and the next start clears it'
    return { swapped: false, error: await failureAfter(error, () => target.clearJournal(), left), kept: false }
  }
  try {
    await steps.run('swap', () => target.swap(journal.to, { storeId, previous: journal.from }))
  } catch (error) {
    return await undo(target, swap, { error, keep: false })
  }
  try {
    await steps.run('check-live', () => target.checkLive())
  } catch (error) {
    return await undo(target, swap, { error, keep: true })
  }
  try {
    await steps.run('clear-journal', () => target.clearJournal())
    return { swapped: true, warnings: [] }
  } catch (error) {
    // The new engine is live, durable and checked; the next start clears the journal.
    return { swapped: true, warnings: [toError(error)] }
  }
}

/** Makes the old engine live, or none if there was none. */
export async function swapBack(
  target: Swappable,
  { from, storeId, previous }: { readonly from: string | undefined; readonly storeId: string; readonly previous: string | undefined },
): Promise<void> {
  if (from === undefined) await target.unswap()
  else await target.swap(from, { storeId, previous })
}

async function undo(
  target: Swappable,
  { journal, storeId, previous }: SwapIn,
  { error, keep }: { readonly error: unknown; readonly keep: boolean },
): Promise<SwapOutcome> {
  const { from, to } = journal
  const kept = keep && from !== undefined
  const doubt = `undoing the swap failed too, so engine ${nameOf(from)} or ${nameOf(to)} is live; closing and opening the store decides which`
  const undone = await failureAfter(error, () => swapBack(target, { from, storeId, previous: kept ? to : previous }), doubt)
  if (undone !== error) return { swapped: false, error: undone, kept: true }
  const state = from === undefined ? 'there is no store, as before' : `engine ${nameOf(from)} is live again${kept ? `, and ${nameOf(to)} is kept as the previous one` : ''}`
  const failure = new CombinedError(`${messageOf(error)}; the swap was undone: ${state}`, [error])
  return { swapped: false, error: await failureAfter(failure, () => target.clearJournal(), 'the journal could not be cleared, and the next start clears it'), kept }
}

function nameOf(engine: string | undefined): string {
  return engine === undefined ? '(none)' : `"${engine}"`
}
