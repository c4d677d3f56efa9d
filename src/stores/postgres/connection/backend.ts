/** The server process that runs a transaction, asked about over another connection. */
import { type Patience, NoAnswerError, answerWithin } from './answer-deadline.ts'
import type { Queryable } from './client.ts'

/** Identifies a transaction. The process number alone does not: the server gives it again, and a pooler gives its connection to others. */
export interface BackendTransaction {
  readonly pid: number
  /** When the transaction began, in seconds since 1970. */
  readonly started: string
}

/** Gives a transaction its own row of `BackendTransaction`. */
export const THIS_TRANSACTION = 'SELECT pg_backend_pid() AS pid, extract(epoch FROM transaction_timestamp())::text AS started'

/** Where a server does not record what sessions do, the number of the process is enough to ask about it, but not to cancel. */
const IS_UNRECORDED = ` OR state = 'disabled'`
/** How long an answer may be under way after the server says that it has answered. */
const GRACE_MS = 1000
const DIGITS = /^\d+(?:\.\d+)?$/

export class Backend {
  readonly #others: Queryable
  readonly #timeoutMs: number
  readonly #transaction: BackendTransaction

  /** `others` are connections to ask over; `timeoutMs` bounds the wait for an answer of the transaction. */
  constructor(others: Queryable, transaction: BackendTransaction, timeoutMs: number) {
    this.#others = others
    this.#transaction = transaction
    this.#timeoutMs = timeoutMs
  }

  /** Waits for an answer as long as the server works on it: a statement that goes through large tables is silent until its end. */
  readonly patience: Patience = async (answer) => {
    for (;;) {
      try {
        return await answerWithin(answer, this.#timeoutMs)
      } catch (error) {
        if (!(error instanceof NoAnswerError)) throw error
      }
      const settled = answer.then(() => true, () => true)
      if (await Promise.race([settled, this.#isAtWork()])) continue
      if (!(await Promise.race([settled, answerWithin(settled, GRACE_MS).catch(() => false)]))) throw new NoAnswerError(this.#timeoutMs)
    }
  }

  /** Ends the statement that the transaction runs, and nothing else. */
  async cancel(): Promise<void> {
    await this.#ask('pg_cancel_backend(pid)')
  }

  /** Whether the server works on the statement, and does not wait for its client. False where the server cannot be asked in time. */
  async #isAtWork(): Promise<boolean> {
    return await this.#ask(`state NOT LIKE 'idle%' AND wait_event_type IS DISTINCT FROM 'Client'`, IS_UNRECORDED).catch(() => false)
  }

  /** Whether the process of this transaction is there and the expression holds for it. `orElse` loosens how it is identified. */
  async #ask(expression: string, orElse = ''): Promise<boolean> {
    const { pid, started } = this.#transaction
    if (!DIGITS.test(started)) return false
    // The role that logged in may look, though the one it has changed to may not; it is left again with the end of this.
    const text = `SELECT set_config('role', 'none', true); SELECT ${expression} AS holds FROM pg_catalog.pg_stat_activity WHERE pid = ${pid} AND (extract(epoch FROM xact_start) = ${started}${orElse})`
    const [row] = await this.#others.rows<{ holds: boolean }>(text)
    return row?.holds === true
  }
}
