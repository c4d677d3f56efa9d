/** One connection in one transaction. */
import { setTimeout as delay } from 'node:timers/promises'
import { messageOf } from '../../../errors/error-message.ts'
import { BackupUnsupportedError, InternalError, isHoldfastError } from '../../../errors/errors.ts'
import type { Interrupt } from '../../../util/interrupt.ts'
import { type Patience, answerWithin, takeClient } from './answers.ts'
import { type BackendTransaction, Backend, THIS_TRANSACTION } from './backend.ts'
import { type PostgresClient, type PostgresPool, quoteName, submit } from './client.ts'
import { CopyIn } from './copy-in.ts'
import { type CopyFormat, CopyOut } from './copy-out.ts'
import { KEEPALIVES } from './keepalive.ts'
import { type FailureOptions, isConnectionOver, postgresError, sqlStateOf, unknownOutcome } from './server-errors.ts'
import { RowBlocks } from './row-blocks.ts'
import { type SessionIdentity, ASSUME_IDENTITY } from './session-identity.ts'

/** How long a transaction that is given up may take to end before its connection is cut. */
const GIVE_UP_TIMEOUT_MS = 4000
/** SQLSTATE: the server cannot do that. */
const NOT_SUPPORTED = '0A000'

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
  ...KEEPALIVES,
  // A slow sink makes the client stop reading.
  tcp_user_timeout: '0',
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

/** Where a session is brought back to by `LET_GO`. */
export const HOLD_ON = 'SAVEPOINT holdfast'
/** Undoes settings and gives back locks since `HOLD_ON`, also after a failure; the transaction and its snapshot go on. */
export const LET_GO = 'ROLLBACK TO SAVEPOINT holdfast'

/** What the sessions of one piece of work have in common. */
export interface SessionScope {
  readonly schema: string
  /** How long to wait for a lock. */
  readonly lockTimeoutMs: number
  /** How long the server may be silent while it is not at work. */
  readonly answerTimeoutMs: number
  /** Who to be. @default who the pool's sessions are */
  readonly identity?: SessionIdentity | undefined
  /** Ends every wait. */
  readonly interrupt: Interrupt
}

export interface SessionOptions extends SessionScope {
  /** How the transaction begins. */
  readonly begin: string
  /** Settings of this transaction beside those of all. */
  readonly settings?: Readonly<Record<string, string>> | undefined
  /** What its failures are told as. */
  readonly failures: FailureOptions
}

export class Session {
  readonly #client: PostgresClient
  readonly #toError: (error: unknown) => Error
  readonly #blocks = new RowBlocks()
  readonly #ignore = (): void => undefined
  #copyIn: CopyIn | undefined
  #running: Promise<unknown> | undefined
  #patience: Patience
  #backend: Backend | undefined
  #processId = 0
  #isClosed = false

  private constructor(client: PostgresClient, toError: (error: unknown) => Error, patience: Patience) {
    this.#patience = patience
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

  static async #begin(pool: PostgresPool, { schema, begin, settings, failures, identity, answerTimeoutMs, lockTimeoutMs }: SessionOptions): Promise<Session> {
    const toError = (error: unknown): Error => sessionError(error, failures)
    const client = await takeClient(pool, answerTimeoutMs).catch((error: unknown) => {
      throw toError(error)
    })
    // It may begin by waiting for a lock.
    const session = new Session(client, toError, (answer) => answerWithin(answer, answerTimeoutMs + lockTimeoutMs))
    try {
      if (identity !== undefined) await session.run(ASSUME_IDENTITY, [identity.user, identity.role])
      await session.run(begin)
      const [begun] = await session.rows<BackendTransaction>(THIS_TRANSACTION)
      if (begun === undefined) throw new InternalError('The server gave no row for a query of one')
      session.#watch(new Backend(pool, begun, answerTimeoutMs), begun.pid)
      await session.#set({ ...SETTINGS, ...settings, search_path: `${quoteName(schema)}, pg_temp` })
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

  /** The rows of a statement; of several in one text, those of the last. */
  async rows<Row extends object>(text: string, values?: unknown[]): Promise<Row[]> {
    if (this.#isClosed) throw new InternalError('A session is used after it was closed')
    const running = this.#patience(this.#client.query(text, values))
    this.#running = running
    try {
      const results: readonly { readonly rows: unknown[] }[] = [await running].flat()
      return (results.at(-1)?.rows ?? []) as Row[]
    } catch (error) {
      throw this.#toError(error)
    } finally {
      this.#running = undefined
    }
  }

  copyOut(text: string, options: { readonly format: CopyFormat; readonly limitBytes: number }): CopyOut {
    const copy = new CopyOut(text, { ...options, toError: this.#toError, patience: this.#patience, blocks: this.#blocks })
    submit(this.#client, copy)
    return copy
  }

  copyIn(text: string): CopyIn {
    const copy = new CopyIn(text, { toError: this.#toError, patience: this.#patience })
    this.#copyIn = copy
    submit(this.#client, copy)
    return copy
  }

  /**
   * Commits the transaction and gives the client back; cuts the connection when that fails. Where it broke meanwhile nobody knows how the
   * transaction ended: when it has changed anything, `hint` says what to do then.
   */
  async commit(hint?: string): Promise<void> {
    try {
      await this.run('COMMIT')
    } catch (error) {
      this.destroy()
      throw hint !== undefined && isConnectionOver(error) ? unknownOutcome(error as Error, hint) : error
    }
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
      await this.#backend?.cancel()
      await this.#running.catch(this.#ignore)
    }
    await this.#copyIn?.abandon()
    await this.#client.query('ROLLBACK')
  }

  #watch(backend: Backend, processId: number): void {
    this.#backend = backend
    this.#processId = processId
    this.#patience = backend.patience
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

function sessionError(error: unknown, failures: FailureOptions): Error {
  if (isHoldfastError(error) || sqlStateOf(error) !== NOT_SUPPORTED) return postgresError(error, failures)
  return new BackupUnsupportedError(`${failures.action}: ${messageOf(error)}`, { cause: error, details: { sqlState: NOT_SUPPORTED } })
}
