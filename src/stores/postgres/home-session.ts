/** A connection of its own for work on a home. What it has locked is its own until it is closed, or breaks. */
import { setTimeout as delay } from 'node:timers/promises'
import { InternalError, StoreUnavailableError } from '../../errors.ts'
import type { PostgresClient, PostgresPool } from './snapshot/client.ts'
import { type FailureOptions, postgresError, sqlStateOf } from './snapshot/errors.ts'

/** What the session sets for itself, over whatever the role, the database or the pool has. */
const SETTINGS: Readonly<Record<string, string>> = {
  search_path: 'pg_catalog, pg_temp',
  statement_timeout: '0',
  lock_timeout: '0',
  transaction_timeout: '0',
  // It idles while an engine is filled.
  idle_session_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  client_connection_check_interval: '1000',
  tcp_keepalives_idle: '30',
  tcp_keepalives_interval: '10',
  tcp_keepalives_count: '3',
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: 'off',
  default_transaction_deferrable: 'off',
  client_encoding: 'UTF8',
  check_function_bodies: 'off',
}

/** How long a statement may go unanswered before the connection is given up. */
const ANSWER_TIMEOUT_MS = 60_000

export class HomeSession {
  readonly #client: PostgresClient
  readonly #toError: (error: unknown) => Error
  #isClosed = false
  readonly #lost = new AbortController()
  readonly #onError = (): void => this.#lost.abort()

  private constructor(client: PostgresClient, failures: FailureOptions) {
    this.#client = client
    this.#toError = (error) => postgresError(error, failures)
    client.on('error', this.#onError)
  }

  static async open(pool: PostgresPool, action: string): Promise<HomeSession> {
    const failures: FailureOptions = { action, badData: 'invalid' }
    const client = await pool.connect().catch((error: unknown) => {
      throw postgresError(error, failures)
    })
    const session = new HomeSession(client, failures)
    try {
      const names = Object.keys(SETTINGS)
      await session.rows(
        `SELECT set_config(name, wanted.value, false) FROM unnest($1::text[], $2::text[]) AS wanted (name, value) JOIN pg_catalog.pg_settings USING (name)
         WHERE name <> 'client_connection_check_interval' OR version() !~ 'Visual C|mingw'
         UNION ALL SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`,
        [names, names.map((name) => SETTINGS[name])],
      )
      return session
    } catch (error) {
      session.close()
      throw error
    }
  }

  /** Whether the connection broke: its locks are gone, or will be when the server notices. */
  get isLost(): boolean {
    return this.#lost.signal.aborted
  }

  /** Calls `tell` when the connection breaks. */
  onLost(tell: () => void): void {
    this.#lost.signal.addEventListener('abort', tell, { once: true })
  }

  /** The rows of one statement. Bounded in time: one that goes unanswered loses the connection. */
  async rows<Row extends object>(text: string, values?: unknown[], { timeoutMs = ANSWER_TIMEOUT_MS }: { readonly timeoutMs?: number } = {}): Promise<Row[]> {
    if (this.#isClosed) throw new InternalError('A session is used after it was closed')
    const timer = new AbortController()
    const late = delay(timeoutMs, undefined, { signal: timer.signal }).then(() => {
      throw new StoreUnavailableError(`The server has not answered after ${timeoutMs} ms`, { retryable: true })
    })
    const answer = this.#client.query(text, values)
    try {
      return (await Promise.race([answer, late])).rows as Row[]
    } catch (error) {
      answer.catch(() => undefined)
      if (isEnd(error)) this.#lost.abort()
      throw this.#toError(error)
    } finally {
      timer.abort()
      late.catch(() => undefined)
    }
  }

  /** Runs a task in a transaction with these settings. When it rejects, nothing was changed, unless the connection broke in its COMMIT. */
  async transaction<T>(task: () => Promise<T>, settings: Readonly<Record<string, number>> = {}): Promise<T> {
    await this.rows(['BEGIN', ...Object.entries(settings).map(([name, value]) => `SET LOCAL ${name} = ${value}`)].join('; '))
    try {
      const result = await task()
      await this.rows('COMMIT')
      return result
    } catch (error) {
      if (!this.isLost) await this.rows('ROLLBACK').catch(() => undefined)
      throw error
    }
  }

  /** Gives up its locks, so that they are free when this resolves, and closes the connection. Never rejects. */
  async end(): Promise<void> {
    if (!this.isLost && !this.#isClosed) await this.rows('SELECT pg_advisory_unlock_all()').catch(() => undefined)
    this.close()
  }

  /** Cuts the connection; its locks go when the server notices. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#client.release(true)
  }
}

/** Whether the session is over: what the server says of a statement leaves it as it is, but for classes 08 and 57P, and timeouts that end sessions. */
function isEnd(error: unknown): boolean {
  const state = sqlStateOf(error)
  return state === undefined || /^(?:08|57P|25P03|25P04)/.test(state)
}
