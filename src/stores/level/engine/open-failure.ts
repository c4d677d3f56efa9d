/** Turns errors of LevelDB and the file system into errors of a store and its home. */
import { messageOf } from '../../../errors/error-message.ts'
import { DestinationNoSpaceError, type HoldfastError, StoreNotDrainedError, StoreUnavailableError, isHoldfastError } from '../../../errors/errors.ts'
import { CLOSED_HINT, NO_SPACE_HINT } from '../../../errors/system-codes.ts'
import { isSystemError } from '../../../util/files.ts'
import { isClosed, isFullDisk, lockRefusal, unfitHint } from '../../../util/level-errors.ts'

/** Turns an error of opening a LevelDB at a path into one for the user. */
export function openFailure(path: string, error: unknown): HoldfastError {
  if (isHoldfastError(error)) return error
  const reason = reasonOf(error)
  if (lockRefusal(reason) === 'taken') {
    return new StoreNotDrainedError(`Cannot open "${path}": another process has it open`, { cause: error })
  }
  const text = messageOf(reason)
  if (isFullDisk(text)) return new DestinationNoSpaceError(`Cannot open "${path}": ${text}`, { cause: error, hint: NO_SPACE_HINT })
  return new StoreUnavailableError(`Cannot open "${path}": ${text}`, { cause: error, hint: unfitHint(reason) ?? hintFor(text, reason) })
}

function hintFor(text: string, reason: unknown): string | undefined {
  if (/read-only file system/i.test(text)) return 'LevelDB writes to its directory even to read it: mount the file system for writing, or copy the directory to another one'
  return codeOf(reason) === 'LEVEL_CORRUPTION' ? 'The engine is damaged: restore a backup into the store' : undefined
}

/** LevelDB's own reason, which is the cause of "Database failed to open". */
export function reasonOf(error: unknown): unknown {
  return error instanceof Error && error.cause instanceof Error ? error.cause : error
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
    if (isSystemError(error, 'ENOSPC', 'EDQUOT')) throw new DestinationNoSpaceError(message, { cause: error, hint: NO_SPACE_HINT })
    throw new StoreUnavailableError(message, { cause: error, hint: unfitHint(error) })
  }
}

/** Reads from a store's database. Rejects with `store_unavailable`. */
export async function reading<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } catch (error) {
    throw new StoreUnavailableError(`Cannot read the store: ${messageOf(error)}`, { cause: error, hint: isClosed(error) ? CLOSED_HINT : undefined })
  }
}
