/** Files without a name for data that outgrows memory: nothing is left behind whatever happens to the process. */
import { randomBytes } from 'node:crypto'
import { closeSync, constants, openSync, unlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { errorOf } from '../errors/error-transfer.ts'
import { asHoldfastError } from './system-errors.ts'

const PRIVATE_FILE = 0o600

/** Opens a file and removes its name at once. */
export function openUnnamed(directory: string = tmpdir()): number {
  const path = join(directory, `holdfast-${randomBytes(12).toString('hex')}.spill`)
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, PRIVATE_FILE)
  try {
    unlinkSync(path)
  } catch (error) {
    closeSync(fd)
    throw error
  }
  return fd
}

/** The error for a failure to keep what does not fit into memory, such as "payload IDs". */
export function spillFailure(what: string, cause: unknown, directory: string = tmpdir()): Error {
  const error = asHoldfastError(cause, `keep ${what} in ${JSON.stringify(directory)}`)
  const hint = error.code === 'destination_no_space' ? 'Free space for temporary files, or set TMPDIR to another directory' : 'Set TMPDIR to a writable directory'
  return errorOf(error.code, error.message, { cause, hint })
}
