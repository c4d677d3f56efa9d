/** Backup IDs: ULIDs, made in ascending order, and checked before any path or key is built of them. */
import { monotonicFactory } from 'ulid'
import { InvalidArgumentError } from '../errors/errors.ts'

const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/

const next = monotonicFactory()

/** Makes an ID that is greater than every one this process made before, also when the clock steps back. */
export function newBackupId(nowMs: number = Date.now()): string {
  return next(nowMs)
}

/** Whether a text is a backup ID: 26 characters of Crockford's base 32 in capitals, at most 128 bits. */
export function isBackupId(text: string): boolean {
  return ULID.test(text)
}

/** Returns the ID; throws `invalid_argument` when it is none. */
export function checkBackupId(text: string): string {
  if (!isBackupId(text)) throw new InvalidArgumentError(`Cannot use ${JSON.stringify(text.slice(0, 64))} as a backup ID: it is not a ULID`)
  return text
}
