/** Turns errors of LevelDB and the file system into errors of a store and its home. */
import { messageOf } from '../../../errors/error-message.ts'
import { DestinationNoSpaceError, type HoldfastError, StoreNotDrainedError, StoreUnavailableError, isHoldfastError } from '../../../errors/errors.ts'
import { isSystemError } from '../../../util/files.ts'

/** Turns an error of opening a LevelDB at a path into one for the user. */
export function openFailure(path: string, error: unknown): HoldfastError {
  if (isHoldfastError(error)) return error
  const reason = reasonOf(error)
  if (codeOf(reason) === 'LEVEL_LOCKED') {
    return new StoreNotDrainedError(`Cannot open "${path}": another process has it open`, { cause: error })
  }
  const text = messageOf(reason)
  if (isFullDisk(text)) return new DestinationNoSpaceError(`Cannot open "${path}": ${text}`, { cause: error })
  return new StoreUnavailableError(`Cannot open "${path}": ${text}`, { cause: error, hint: hintFor(text, codeOf(reason)) })
}

function hintFor(text: string, code: unknown): string | undefined {
  if (/read-only file system/i.test(text)) return 'LevelDB writes to its directory even to read it: mount the file system for writing, or copy the directory to another one'
  return code === 'LEVEL_CORRUPTION' ? 'The engine is damaged: restore a backup into the store' : undefined
}

/** LevelDB's own reason, which is the cause of "Database failed to open". */
export function reasonOf(error: unknown): unknown {
  return error instanceof Error && error.cause instanceof Error ? error.cause : error
}

/** Whether a message of LevelDB means a full disk. There is no error code for that. */
export function isFullDisk(message: string): boolean {
  return /No space left on device|Disk quota exceeded/i.test(message)
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}

/** Runs one step of work on a home. A failure names the step. */
export async function inStep<T>(home: string, verb: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (error) {
    if (isHoldfastError(error)) throw error
    const message = `Cannot ${verb} the store at "${home}": ${messageOf(error)}`
    throw isSystemError(error, 'ENOSPC', 'EDQUOT') ? new DestinationNoSpaceError(message, { cause: error }) : new StoreUnavailableError(message, {
      cause: error,
    })
  }
}

/** Reads from a store's database. Rejects with `store_unavailable`. */
export async function reading<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (error) {
    throw new StoreUnavailableError(`Cannot read the store: ${messageOf(error)}`, { cause: error })
  }
}
