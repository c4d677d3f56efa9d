/** The process of the server that runs a transaction, as it is looked at over another connection. */
import { type Patience, NoAnswerError, answerWithin, takeClient } from './answers.ts'
import type { PostgresPool } from './client.ts'

/** What a transaction is known by: the server gives the number of a process that has ended, or a pooler its connection, to others. */
export interface BackendTransaction {
  readonly pid: number
  /** When it began, in seconds since 1970. */
  readonly started: string
}

/** Gives the row of a `BackendTransaction` to the transaction that runs it. */
export const THIS_TRANSACTION = 'SELECT pg_backend_pid() AS pid, extract(epoch FROM transaction_timestamp())::text AS started'

/** Of a server that keeps no record of what sessions do, a process is known by its number alone: enough to ask, not to cancel. */
const IS_UNRECORDED = ` OR state = 'disabled'`
/** How long an answer may still be under way, when the server says that it was given. */
const GRACE_MS = 1000
const DIGITS = /^\d+(?:\.\d+)?$/

export class Backend {
  readonly #pool: PostgresPool
  readonly #timeoutMs: number
  readonly #transaction: BackendTransaction

  /** `timeoutMs` is how long it waits: for what is answered soon, and for a connection to ask over. */
  constructor(pool: PostgresPool, transaction: BackendTransaction, timeoutMs: number) {
    this.#pool = pool
    this.#transaction = transaction
    this.#timeoutMs = timeoutMs
  }

  /** Waits for an answer for as long as the server works on it: a statement that goes through large tables says nothing until its end. */
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

  /** Whether the server works on what it was asked, and is not waiting for its client. It is not where it cannot be asked in time. */
  async #isAtWork(): Promise<boolean> {
    return await this.#ask(`state NOT LIKE 'idle%' AND wait_event_type IS DISTINCT FROM 'Client'`, IS_UNRECORDED).catch(() => false)
  }

  /** Whether the process of this transaction is there, or one that is known otherwise, and the expression holds for it. */
  async #ask(expression: string, orElse = ''): Promise<boolean> {
    const { pid, started } = this.#transaction
    if (!DIGITS.test(started)) return false
    const client = await takeClient(this.#pool, this.#timeoutMs)
    client.on('error', ignore)
    try {
      // The role that logged in may look, though the one it has changed to may not; it is left again with the end of this.
      const text = `SELECT set_config('role', 'none', true); SELECT ${expression} AS holds FROM pg_catalog.pg_stat_activity WHERE pid = ${pid} AND (extract(epoch FROM xact_start) = ${started}${orElse})`
      const results = (await answerWithin(client.query(text), this.#timeoutMs)) as unknown as readonly { readonly rows: readonly { readonly holds: boolean }[] }[]
      client.removeListener('error', ignore)
      client.release()
      return results.at(-1)?.rows[0]?.holds === true
    } catch (error) {
      client.release(true)
      throw error
    }
  }
}

function ignore(): void {}
