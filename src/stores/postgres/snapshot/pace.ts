/** How fast a backup reads: an option with two values, and no guess. */
import { checkWholeNumber } from '../../../util/check-number.ts'
import { NUMBER, type OptionKinds, oneOf, optional } from '../../../util/check-options.ts'

/** How a backup treats the other sessions of the server: it keeps out of their way, or reads as fast as it can. */
export type Pace = 'gentle' | 'full'

export interface PaceOptions {
  /**
   * `gentle` reads two pages at a time, one after the other, and lets the server rest while it sends payload IDs: statements of other
   * sessions hardly wait. It takes three to four times as long as `full`, which reads as fast as it can.
   * @default "gentle"
   */
  readonly pace?: Pace | undefined
  /**
   * How many connections a backup reads with, 1 to 16. Each takes one of the server's; a pool that has fewer gives what it has. Of two, one
   * reads the payload IDs and one the tables, each in one scan. At full pace, more than two read ranges of large tables at once, which
   * pushes other pages out of the server's memory.
   * @default 1, or 2 at full pace
   */
  readonly connections?: number | undefined
}

export const PACE_OPTIONS: OptionKinds<PaceOptions> = { pace: optional(oneOf(['gentle', 'full'])), connections: optional(NUMBER) }

/** What one COPY reads at gentle pace: the server has it in a fraction of a millisecond. */
const GENTLE_BYTES: number = 16 * 1024
/** What one COPY reads where several connections share a table: about as many bytes as are read ahead of the stream. */
const SHARED_BYTES: number = 4 * 1024 * 1024
const MAX_CONNECTIONS = 16

/** The options with their defaults. Throws `RangeError` for `connections` that are not 1 to 16. */
export function checkPace({ pace = 'gentle', connections = pace === 'full' ? 2 : 1 }: PaceOptions): { readonly pace: Pace; readonly connections: number } {
  checkWholeNumber('connections', connections, { least: 1, most: MAX_CONNECTIONS })
  return { pace, connections }
}

export interface Stride {
  /** How much of a table one COPY reads. */
  readonly bytes: number
  /** Whether a COPY may begin before all that came of the one before it is written: then client and server work at the same time. */
  readonly isAhead: boolean
}

/** How tables are cut into COPY commands. */
export function strideOf({ pace, connections }: { readonly pace: Pace; readonly connections: number }): Stride {
  if (pace === 'gentle') return { bytes: GENTLE_BYTES, isAhead: false }
  return { bytes: connections > 2 ? SHARED_BYTES : Infinity, isAhead: true }
}
