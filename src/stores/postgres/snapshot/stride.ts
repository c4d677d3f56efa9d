/** How much of a table one COPY reads: little where others are at work on the server. */
import type { Session } from './session.ts'

/** What is read at once beside others. The server has it in a fraction of a millisecond, so that a statement of theirs hardly waits for it. */
const SMALLEST_BYTES: number = 16 * 1024
/** What is read at once where nobody waits: about as many bytes as are read ahead of the stream. */
const LARGEST_BYTES: number = 4 * 1024 * 1024
/** How often the server is asked. */
const LOOK_EVERY_MS = 50
/** How long a session counts as at work after its last statement. */
const RECENT_MS = 100

/** A server may keep its roles from asking; a statement that it refuses would end the transaction. */
const MAY_ASK = `SELECT has_table_privilege('pg_catalog.pg_stat_activity', 'SELECT')
  AND has_function_privilege('pg_catalog.pg_stat_get_activity(int)', 'EXECUTE')
  AND has_function_privilege('pg_catalog.pg_stat_clear_snapshot()', 'EXECUTE') AS answer`
/** Of sessions of other roles a server tells nothing, unless the role may read all statistics. What it told is kept for a transaction until it is cleared. */
const ARE_OTHERS_AT_WORK = `SELECT answer, pg_catalog.pg_stat_clear_snapshot() FROM (
  SELECT count(*) > 0 AS answer FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()
  AND (state = 'active' OR state_change > pg_catalog.clock_timestamp() - interval '${RECENT_MS} milliseconds')) AS found`

export interface Stride {
  /** How much of a table the next COPY is to read. */
  readonly bytes: number
  /** Whether a COPY may begin before all that came of the one before it is written: then client and server work at once. */
  readonly isAhead: boolean
  /** To be called before each COPY, with a session that runs nothing. */
  look(session: Session): Promise<void>
}

/** The same whoever waits. */
export function steadyStride(bytes: number = LARGEST_BYTES): Stride {
  return { bytes, isAhead: true, look: async () => undefined }
}

/** Small while others are at work on the server, or where that cannot be told; doubled with each COPY while nobody is. */
export class CarefulStride implements Stride {
  readonly #clock: () => number
  #bytes = SMALLEST_BYTES
  #isAhead = false
  #mayAsk: boolean | undefined
  #lookAtMs = 0

  /** `clock` gives milliseconds that never go back. */
  constructor(clock: () => number = () => performance.now()) {
    this.#clock = clock
  }

  get bytes(): number {
    return this.#bytes
  }

  get isAhead(): boolean {
    return this.#isAhead
  }

  async look(session: Session): Promise<void> {
    this.#mayAsk ??= await ask(session, MAY_ASK)
    if (!this.#mayAsk) return
    if (this.#isAhead) this.#bytes = Math.min(2 * this.#bytes, LARGEST_BYTES)
    const nowMs = this.#clock()
    if (nowMs < this.#lookAtMs) return
    this.#lookAtMs = nowMs + LOOK_EVERY_MS
    this.#isAhead = !(await ask(session, ARE_OTHERS_AT_WORK))
    if (!this.#isAhead) this.#bytes = SMALLEST_BYTES
  }
}

async function ask(session: Session, text: string): Promise<boolean> {
  const [row] = await session.rows<{ answer: boolean }>(text)
  return row?.answer === true
}
