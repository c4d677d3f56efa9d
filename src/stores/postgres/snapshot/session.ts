/** One connection in one transaction. */
import { setTimeout as delay } from 'node:timers/promises'
import { InternalError } from '../../../errors.ts'
import type { Interrupt } from '../../common/interrupt.ts'
import { type PostgresClient, type PostgresPool, quoteName, submit } from './client.ts'
import { CopyIn } from './copy-in.ts'
import { type CopyFormat, CopyOut } from './copy-out.ts'
import { type FailureOptions, postgresError } from './errors.ts'
import { RowBlocks } from './row-blocks.ts'

/** How long a transaction that is given up may take to end before its connection is cut. */
const GIVE_UP_TIMEOUT_MS = 4000

/**
 * What every transaction sets for itself, over whatever the role, the database or the pool has: no limits of time, for a slow sink is no
 * fault; the whole of every table or an error; one spelling for values in text form. A server watches for clients
 * that are gone, and compiles nothing for queries that run once.
 */
const SETTINGS: Readonly<Record<string, string>> = {
  statement_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  transaction_timeout: '0',
  client_connection_check_interval: '1000',
  row_security: 'off',
  jit: 'off',
  synchronize_seqscans: 'off',
  client_encoding: 'UTF8',
  DateStyle: 'ISO, YMD',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  extra_float_digits: '3',
  bytea_output: 'hex',
  xmloption: 'content',
  quote_all_identifiers: 'off',
}

export interface SessionOptions {
  readonly schema: string
  /** How the transaction begins. */
  readonly begin: string
  /** Settings of this transaction beside those of all. */
  readonly settings?: Readonly<Record<string, string>> | undefined
  readonly interrupt: Interrupt
  /** What its failures are told as. */
  readonly failures: FailureOptions
}

export class Session {
  readonly #pool: PostgresPool
  readonly #client: PostgresClient
  readonly #toError: (error: unknown) => Error
  readonly #blocks = new RowBlocks()
  readonly #ignore = (): void => undefined
  #copyIn: CopyIn | undefined
  #running: Promise<unknown> | undefined
  #processId = 0
  #isClosed = false

  private constructor(pool: PostgresPool, client: PostgresClient, toError: (error: unknown) => Error) {
    this.#pool = pool
    this.#toError = toError
    this.#client = client
    // What breaks a connection reaches the statement that runs on it, or the next one.
    client.on('error', this.#ignore)
  }

  /** Takes a client and begins a transaction whose search path is the schema alone. */
  static async begin(pool: PostgresPool, options: SessionOptions): Promise<Session> {
    const beginning = Session.#begin(pool, options)
    try {
      return await options.interrupt.race(beginning)
    } catch (error) {
      beginning.then((session) => session.destroy()).catch(() => undefined)
      throw error
    }
  }

  static async #begin(pool: PostgresPool, { schema, begin, settings, failures }: SessionOptions): Promise<Session> {
    const toError = (error: unknown): Error => postgresError(error, failures)
    const client = await pool.connect().catch((error: unknown) => {
      throw toError(error)
    })
    const session = new Session(pool, client, toError)
    try {
      await session.run(begin)
      await session.#set({ ...SETTINGS, ...settings, search_path: `${quoteName(schema)}, pg_temp` })
      const [row] = await session.rows<{ pid: number }>('SELECT pg_backend_pid() AS pid')
      session.#processId = row?.pid ?? 0
      return session
    } catch (error) {
      session.destroy()
      throw error
    }
  }

  /** The process of the server that serves this session. */
  get processId(): number {
    return this.#processId
  }

  async run(text: string, values?: unknown[]): Promise<void> {
    await this.rows(text, values)
  }

  async rows<Row extends object>(text: string, values?: unknown[]): Promise<Row[]> {
    if (this.#isClosed) throw new InternalError('A session is used after it was closed')
    const running = this.#client.query(text, values)
    this.#running = running
    try {
      return (await running).rows as Row[]
    } catch (error) {
      throw this.#toError(error)
    } finally {
      this.#running = undefined
    }
  }

  copyOut(text: string, options: { readonly format: CopyFormat; readonly limitBytes: number }): CopyOut {
    const copy = new CopyOut(text, { ...options, toError: this.#toError, blocks: this.#blocks })
    submit(this.#client, copy)
    return copy
  }

  copyIn(text: string): CopyIn {
    const copy = new CopyIn(text, this.#toError)
    this.#copyIn = copy
    submit(this.#client, copy)
    return copy
  }

  /** Ends the transaction with this statement and gives the client back. */
  async end(statement: 'COMMIT' | 'ROLLBACK'): Promise<void> {
    await this.run(statement)
    this.#release(false)
  }

  /** Ends the transaction from whatever state it is in, and waits for that; then, or when that takes too long, cuts the connection. */
  async giveUp(): Promise<void> {
    if (this.#isClosed) return
    const timer = new AbortController()
    const isOver = delay(GIVE_UP_TIMEOUT_MS, undefined, { signal: timer.signal, ref: false }).catch(() => undefined)
    await Promise.race([this.#rollBack().catch(this.#ignore), isOver])
    timer.abort()
    this.destroy()
  }

  /** Cuts the connection; the server ends the transaction when it notices. */
  destroy(): void {
    this.#release(true)
  }

  async #rollBack(): Promise<void> {
    if (this.#running !== undefined) {
      await this.#cancel()
      await this.#running.catch(this.#ignore)
    }
    await this.#copyIn?.abandon()
    await this.#client.query('ROLLBACK')
  }

  /** Ends the statement that runs: over another connection, for this one is busy. */
  async #cancel(): Promise<void> {
    const client = await this.#pool.connect()
    client.on('error', this.#ignore)
    try {
      await client.query('SELECT pg_cancel_backend($1)', [this.#processId])
    } finally {
      client.removeListener('error', this.#ignore)
      client.release()
    }
  }

  /** Settings that this server does not have, or not on this system, are passed over. */
  async #set(settings: Readonly<Record<string, string>>): Promise<void> {
    const names = Object.keys(settings)
    await this.run(
      `SELECT set_config(name, wanted.value, true) FROM unnest($1::text[], $2::text[]) AS wanted (name, value) JOIN pg_settings USING (name)
       WHERE name <> 'client_connection_check_interval' OR version() !~ 'Visual C|mingw'`,
      [names, names.map((name) => settings[name])],
    )
  }

  #release(destroy: boolean): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#client.release(destroy)
    // A connection that is being cut may still say so.
    if (!destroy) this.#client.removeListener('error', this.#ignore)
  }
}
