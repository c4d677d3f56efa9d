/** Allows one restore, rollback or recovery at a time on a handle; the store's own lock keeps other processes out. */
import type { Backupable } from '../contracts/backupable.ts'
import type { Swappable } from '../contracts/swappable.ts'
import { RestoreInProgressError } from '../errors/errors.ts'

const busy = new WeakSet<Swappable | Backupable>()

/** Runs a task. Rejects with `restore_in_progress` if another task runs on the same target. */
export async function runExclusively<T>(target: Swappable | Backupable, task: () => Promise<T>): Promise<T> {
  if (busy.has(target)) throw new RestoreInProgressError('Cannot restore or roll back: another restore or rollback of the store is running')
  busy.add(target)
  try {
    return await task()
  } finally {
    busy.delete(target)
  }
}
