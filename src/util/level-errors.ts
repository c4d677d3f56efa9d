/** The names of LevelDB's files, and what its errors mean that have no code of their own. */
import { NO_DIRECTORY_SYNC, isSystemError } from './files.ts'

/** Names of files that LevelDB makes in its directory. */
export const LEVELDB_FILE: RegExp = /^(?:CURRENT|LOCK|LOG|LOG\.old|MANIFEST-\d+|\d+\.(?:ldb|sst|log|dbtmp))$/

/** What the system, or LevelDB itself, says when others have the lock. */
const TAKEN = /Resource temporarily unavailable|Permission denied|already held/
/** What to do about a directory that this process has open already. */
export const OPEN_HERE_HINT = 'Use the handle that has it open, or close that first'
const NO_LOCKS_HINT = 'LevelDB needs a file system with locks: use a directory on a local disk, or mount the network file system with locks'
const NO_SYNC_HINT = 'LevelDB needs a file system that can sync directories: use a directory on a local disk'
/** What LevelDB says when it cannot sync its directory: the message names that, and none of its files. */
const NO_SYNC =
  /^IO error: .*\/(?!CURRENT|LOCK|LOG|MANIFEST-|\d+\.)[^/]*: (?:Invalid argument|(?:Operation n|N)ot supported|Bad file descriptor|Function not implemented)$/

/** Finds the refusal of the lock of a directory in an error of opening a database, or in its causes. */
export function lockRefusal(error: unknown): 'taken' | 'no locks' | undefined {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if ('code' in cause && cause.code === 'LEVEL_LOCKED') return TAKEN.test(cause.message) ? 'taken' : 'no locks'
  }
  return undefined
}

/** What to do where an error of opening a LevelDB, or of making its directory, shows that the file system lacks what LevelDB needs. */
export function unfitHint(error: unknown): string | undefined {
  if (lockRefusal(error) === 'no locks') return NO_LOCKS_HINT
  if (isSystemError(error, ...NO_DIRECTORY_SYNC) && error.syscall === 'fsync') return NO_SYNC_HINT
  return error instanceof Error && NO_SYNC.test(error.message) ? NO_SYNC_HINT : undefined
}

/** Whether an error means that a database, snapshot, iterator or batch was used after its end. (An opening that failed has a cause.) */
export function isClosed(error: unknown): boolean {
  return error instanceof Error && 'code' in error && /^LEVEL_(?:DATABASE|SNAPSHOT|ITERATOR|BATCH)_NOT_OPEN$/.test(String(error.code)) && error.cause === undefined
}

/** Whether a message of LevelDB means a full disk. */
export function isFullDisk(message: string): boolean {
  return /No space left on device|Disk quota exceeded/i.test(message)
}
