/** Files without a name for data that outgrows memory: nothing is left behind whatever happens to the process. */
import { randomBytes } from 'node:crypto'
import { closeSync, constants, openSync, unlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DestinationNoSpaceError, InternalError } from '../errors/errors.ts'

const PRIVATE_FILE = 0o600
const NO_SPACE: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

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

/** The error for a failure to write what does not fit into memory, such as "payload IDs". */
export function spillFailure(what: string, cause: unknown, directory: string = tmpdir()): Error {
  const { code, message } = cause as NodeJS.ErrnoException
  const text = `Cannot keep ${what} in "${directory}": ${message}`
  if (NO_SPACE.has(code)) return new DestinationNoSpaceError(text, { cause, hint: 'Free space for temporary files, or set TMPDIR to another directory' })
  return new InternalError(text, { cause, hint: 'Set TMPDIR to a writable directory' })
}
