/** A connection of its own for work on a home. What it has locked is its own until it is closed, or breaks. */
import { InternalError } from '../../../errors/errors.ts'
import { answerWithin, takeClient } from '../connection/answers.ts'
import type { PostgresClient, PostgresPool } from '../connection/client.ts'
import { CONFIRMED_IN_TIME, KEEPALIVES } from '../connection/keepalive.ts'
import { type FailureOptions, isConnectionOver, postgresError } from '../connection/server-errors.ts'

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
  ...KEEPALIVES,
  ...CONFIRMED_IN_TIME,
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: 'off',
  default_transaction_deferrable: 'off',
  client_encoding: 'UTF8',
  check_function_bodies: 'off',
}

export interface HomeSessionOptions {
  /** What its failures are told as. */
  readonly action: string
  /** How long a statement may go unanswered before the connection is given up. */
  readonly answerTimeoutMs: number
}

export class HomeSession {
  readonly #client: PostgresClient
  readonly #toError: (error: unknown) => Error
  readonly #answerTimeoutMs: number
  #isClosed = false
  readonly #lost = new AbortController()
  readonly #onError = (): void => this.#lost.abort()

  private constructor(client: PostgresClient, failures: FailureOptions, answerTimeoutMs: number) {
    this.#client = client
    this.#answerTimeoutMs = answerTimeoutMs
    this.#toError = (error) => postgresError(error, failures)
    client.on('error', this.#onError)
  }

  static async open(pool: PostgresPool, { action, answerTimeoutMs }: HomeSessionOptions): Promise<HomeSession> {
    const failures: FailureOptions = { action, badData: 'invalid' }
    const client = await takeClient(pool, answerTimeoutMs).catch((error: unknown) => {
      throw postgresError(error, failures)
    })
    const session = new HomeSession(client, failures, answerTimeoutMs)
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
  async rows<Row extends object>(text: string, values?: unknown[], { timeoutMs = this.#answerTimeoutMs }: { readonly timeoutMs?: number } = {}): Promise<Row[]> {
    if (this.#isClosed) throw new InternalError('A session is used after it was closed')
    try {
      return (await answerWithin(this.#client.query(text, values), timeoutMs)).rows as Row[]
    } catch (error) {
      if (isConnectionOver(error)) this.#lost.abort()
      throw this.#toError(error)
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
