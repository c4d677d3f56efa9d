/** ULIDs: the IDs of backups, jobs, leases, sweeps, engines and stores. They sort by the time at which they were made. */
import { monotonicFactory } from 'ulid'
import { InvalidArgumentError } from '../errors/errors.ts'
import { isTimeMs } from './check-number.ts'
import { shownText } from './check-options.ts'

const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/

const next = monotonicFactory()

/**
 * Makes an ID greater than all earlier ones of this process, even if the clock steps back. Throws `RangeError` for what is not a time.
 * That is checked first: the factory would keep it, and make no more IDs.
 */
export function newUlid(nowMs: number = Date.now()): string {
  if (isTimeMs(nowMs)) return next(nowMs)
  throw new RangeError(`Cannot make an ID: its time, as "clock" gives it, must be whole milliseconds since 1970, got ${String(nowMs)}`)
}

/** Whether a text is a ULID: 26 characters of Crockford's base 32 in capitals, at most 128 bits. */
export function isUlid(text: unknown): boolean {
  return typeof text === 'string' && ULID.test(text)
}

/** Returns a backup ID that is safe in a path or a key. Throws `invalid_argument` if it is not a ULID. */
export function checkBackupId(text: string): string {
  if (isUlid(text)) return text
  throw new InvalidArgumentError(`Cannot use ${shownText(text)} as a backup ID: it is not a ULID`, {
    hint: "Give a whole ID; openRepository(destination).resolve('latest') finds that of the newest backup, and completes the beginning of one",
  })
}
