/** Checks of the numbers that callers give as options. */

export interface NumberRange {
  readonly least: number
  readonly most: number
}

/** The longest wait, a day: a timer of more than some 24 would not wait at all. */
export const MAX_WAIT_MS: number = 24 * 60 * 60 * 1000

/** Gives the number. Throws `RangeError`, naming the option, for one out of the range and for NaN. */
export function checkNumber(name: string, value: number, { least, most }: NumberRange): number {
  if (value >= least && value <= most) return value
  throw new RangeError(`${name} must be ${most === Infinity ? `${least} or more` : `from ${least} to ${most}`}, got ${value}`)
}

/** The same for whole numbers. */
export function checkWholeNumber(name: string, value: number, { least, most }: NumberRange): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value
  throw new RangeError(`${name} must be a whole number ${most === Infinity ? `of ${least} or more` : `from ${least} to ${most}`}, got ${value}`)
}

/** The same for how long something may take, or is waited for: 0 to a day. */
export function checkWaitMs(name: string, waitMs: number): number {
  return checkNumber(name, waitMs, { least: 0, most: MAX_WAIT_MS })
}
