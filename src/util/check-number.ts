/** Checks of the numbers that callers give as options. */

export interface NumberRange {
  readonly least: number
  readonly most: number
}

/** The longest wait, a day. (A timer of more than 24 days would not wait at all.) */
export const MAX_WAIT_MS: number = 24 * 60 * 60 * 1000

/** The greatest time of a ULID, of 48 bits. */
const MAX_TIME_MS = 2 ** 48 - 1

/** Whether a value is a time: whole milliseconds since 1970. */
export function isTimeMs(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MAX_TIME_MS
}

/** Returns the number. Throws `RangeError`, with the option's name, for NaN and for a number out of range. */
export function checkNumber(name: string, value: number, { least, most }: NumberRange): number {
  if (value >= least && value <= most) return value
  throw new RangeError(`${name} must be ${most === Infinity ? `${least} or more` : `from ${least} to ${most}`}, got ${value}`)
}

/** Returns the number, like `checkNumber`, if it is an integer. */
export function checkWholeNumber(name: string, value: number, { least, most }: NumberRange): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value
  throw new RangeError(`${name} must be an integer ${most === Infinity ? `of ${least} or more` : `from ${least} to ${most}`}, got ${value}`)
}

/** Returns a time to wait, like `checkNumber`: 0 to a day. */
export function checkWaitMs(name: string, waitMs: number): number {
  return checkNumber(name, waitMs, { least: 0, most: MAX_WAIT_MS })
}
