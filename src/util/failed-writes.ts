/**
 * Ends the writes to a LevelDB with the first that fails, until the database was closed and opened again.
 *
 * A failed write may leave a part of a record in LevelDB's log. LevelDB acknowledges and reads what is written after that part, and loses
 * it at the next opening, for recovery ends there. An opening begins a new log, with all that was acknowledged before.
 *
 * A database in use is not reopened by itself: that ends its views and backups, and takes space; on a disk that is still full, its readers
 * would lose it too.
 */
import { messageOf } from '../errors/error-message.ts'
import type { HoldfastErrorOptions } from '../errors/errors.ts'

/** What is needed of an abstract-level database. */
export interface LoggedDatabase {
  readonly supports: { readonly permanence: boolean }
  once(event: 'open', listener: () => void): unknown
}

/** The first failure of each database to write. A sublevel shares the log of its root. */
const failures = new WeakMap<LoggedDatabase, { readonly error: unknown }>()

/** Thrown in place of a write after one that failed: nothing was written. */
export class WriteRefusal extends Error {}

/** Writes to a database; rejects without writing after a failed write. The caller waits for each write before the next. */
export async function writeUnlessFailed<T>(db: LoggedDatabase, write: () => Promise<T>): Promise<T> {
  const root = rootOf(db)
  const failure = failures.get(root)
  if (failure !== undefined) throw new WriteRefusal(`an earlier write failed: ${messageOf(failure.error)}`)
  try {
    return await write()
  } catch (error) {
    // What is in memory has no log.
    if (root.supports.permanence) {
      failures.set(root, { error })
      root.once('open', () => failures.delete(root))
    }
    throw error
  }
}

/** Whether a write failed since the database was opened. */
export function hasFailedWrite(db: LoggedDatabase): boolean {
  return failures.has(rootOf(db))
}

/**
 * What to say of a write that failed or was refused. `what` is the word for the database. Whether a failed write was made shows at the next
 * opening: what LevelDB had left to write of it may be written when it closes.
 */
export function failedWriteOptions(error: unknown, what: string): HoldfastErrorOptions {
  return {
    cause: error,
    hint: `Free space or mend the disk, then close and open the ${what} (restart the process): until then it can only be read`,
    retryable: false,
    details: error instanceof WriteRefusal ? undefined : { outcome: 'unknown' },
  }
}

function rootOf(db: LoggedDatabase): LoggedDatabase {
  const { parent } = db as { readonly parent?: LoggedDatabase | null }
  return parent === undefined || parent === null ? db : rootOf(parent)
}
