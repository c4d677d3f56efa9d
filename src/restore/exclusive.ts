/** One restore, rollback or recovery at a time on one handle; other processes are kept out by the store's own lock. */
import { RestoreInProgressError } from '../errors.ts'
import type { Swappable } from '../swappable.ts'

const busy = new WeakSet<Swappable>()

/** Runs a task unless another runs on the same target: then it rejects with `restore_in_progress`. */
export async function exclusively<T>(target: Swappable, task: () => Promise<T>): Promise<T> {
  if (busy.has(target)) throw new RestoreInProgressError('Cannot change the engine of the store: another restore or rollback of it is running')
  busy.add(target)
  try {
    return await task()
  } finally {
    busy.delete(target)
  }
}
