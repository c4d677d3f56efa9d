/** How much of a table one COPY reads: little where others are at work on the server. */
import { sqlStateOf } from '../connection/server-errors.ts'
import { type Session, LET_GO } from '../connection/session.ts'

/** What is read at once beside others. The server has it in a fraction of a millisecond, so that a statement of theirs hardly waits for it. */
const SMALLEST_BYTES: number = 16 * 1024
/** What is read at once where nobody waits: about as many bytes as are read ahead of the stream. */
const LARGEST_BYTES: number = 4 * 1024 * 1024
/** How often the server is asked. */
const LOOK_EVERY_MS = 50
/** How long a session counts as at work after its last statement. */
const RECENT_MS = 100

/** The role that logged in may look, though the one it has changed to may not. */
const AS_LOGIN = `SELECT set_config('role', 'none', true)`
/**
 * Whether other sessions are at work, or may be: of those of other roles a server tells nothing, unless the role may read all statistics. Who waits for a
 * lock is not, and may be waiting for this very backup. What the server told is kept for a transaction until it is cleared.
 */
const MAY_OTHERS_BE_AT_WORK = `SELECT answer, pg_catalog.pg_stat_clear_snapshot() FROM (
  SELECT count(*) > 0 AS answer FROM pg_catalog.pg_stat_activity
  WHERE pid <> pg_catalog.pg_backend_pid() AND CASE
    WHEN backend_type IS NULL THEN usesysid IS NOT NULL AND datid IS NOT NULL
    WHEN backend_type <> 'client backend' THEN false
    WHEN state = 'active' THEN wait_event_type IS DISTINCT FROM 'Lock'
    ELSE state = 'disabled' OR state_change > pg_catalog.clock_timestamp() - interval '${RECENT_MS} milliseconds' END) AS found`
/** SQLSTATE: the role may not. */
const NOT_ALLOWED = '42501'

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

/** Small while others are at work on the server, or may be; doubled with each COPY while nobody is. */
export class CarefulStride implements Stride {
  readonly #clock: () => number
  #bytes = SMALLEST_BYTES
  #isAhead = false
  #lookAtMs = 0
  #isRefused = false

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
    if (this.#isRefused) return
    if (this.#isAhead) this.#bytes = Math.min(2 * this.#bytes, LARGEST_BYTES)
    const nowMs = this.#clock()
    if (nowMs < this.#lookAtMs) return
    this.#lookAtMs = nowMs + LOOK_EVERY_MS
    const answer = await areOthersAtWork(session)
    this.#isRefused = answer === undefined
    this.#isAhead = answer === false
    if (!this.#isAhead) this.#bytes = SMALLEST_BYTES
  }
}

/** `undefined` where the server does not let the role ask. */
async function areOthersAtWork(session: Session): Promise<boolean | undefined> {
  const rows = await session.rows<{ answer: boolean }>(`${AS_LOGIN}; ${MAY_OTHERS_BE_AT_WORK}`).catch((error: unknown) => {
    if (sqlStateOf(error) !== NOT_ALLOWED) throw error
    return []
  })
  await session.run(LET_GO)
  return rows[0]?.answer
}
