/** Who may change a home, and who may write to its store: advisory locks of the server, which go with the session that has them. */
import { checkWaitMs } from '../../../util/check-number.ts'
import { RestoreInProgressError, StoreNotDrainedError } from '../../../errors/errors.ts'
import type { HomeSession } from './home-session.ts'
import { type AdvisoryLockKey, homeLockKey, writeLockKey } from '../connection/write-lock.ts'

/** Makes the session the only one that may change the engines of a store. Rejects with `restore_in_progress` when another one is after `waitMs`. */
export async function lockHome(session: HomeSession, schema: string, { waitMs }: { readonly waitMs: number }): Promise<void> {
  if (await lock(session, homeLockKey(schema), waitMs)) return
  throw new RestoreInProgressError(`Cannot change the engines of the store in schema "${schema}": another process or handle is restoring it, or rolling it back`)
}

/** Refuses writers from now on and waits for those in flight. Rejects with `store_not_drained` when they do not end in time. */
export async function lockOutWriters(session: HomeSession, schema: string, { timeoutMs }: { readonly timeoutMs: number }): Promise<void> {
  checkWaitMs('timeoutMs', timeoutMs)
  if (await lock(session, writeLockKey(schema), timeoutMs)) return
  throw new StoreNotDrainedError(`Cannot drain the store in schema "${schema}": writes of others have not ended after ${timeoutMs} ms`, { details: { timeoutMs } })
}

/** Takes a lock for as long as the session lives; gives whether it was given in time. A session that has it already gets it at once. */
async function lock(session: HomeSession, key: AdvisoryLockKey, waitMs: number): Promise<boolean> {
  const wholeMs = Math.max(1, Math.ceil(waitMs))
  try {
    await session.transaction(() => session.rows('SELECT pg_advisory_lock($1, $2)', [...key], { timeoutMs: wholeMs + ANSWER_SLACK_MS }), { lock_timeout: wholeMs })
    return true
  } catch (error) {
    if (error instanceof StoreNotDrainedError) return false
    throw error
  }
}

/** How much later than its limit the server may say that a lock was not given. */
const ANSWER_SLACK_MS = 10_000
