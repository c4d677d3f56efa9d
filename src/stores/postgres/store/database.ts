/** A schema as the metadata store uses it: single reads, transactions that are tried again, and views of one instant. */
import { setTimeout as delay } from 'node:timers/promises'
import { InternalError, RestoreInProgressError, StoreUnavailableError, isHoldfastError } from '../../../errors.ts'
import { type PostgresClient, type PostgresPool, quoteName, quoteText } from '../snapshot/client.ts'
import { postgresError, sqlStateOf } from '../snapshot/errors.ts'
import { writeLockKey } from '../write-lock.ts'

const TABLES = ['inodes', 'entries', 'shares', 'blocks', 'uploads', 'upload_blocks', 'locks', 'settings', 'used_bytes'] as const

/** How each table is named in SQL, its schema with it. */
export type TablePaths = Readonly<Record<(typeof TABLES)[number], string>> & {
  /** The sequence of inode numbers, as text. */
  readonly inode_numbers: string
}

/** What statements run on: one connection, within a transaction or not. */
export interface Queries {
  readonly schema: string
  readonly tables: TablePaths
  rows<Row extends object>(text: string, values?: readonly unknown[]): Promise<Row[]>
}

/** One instant of the schema. */
export interface View extends Queries {
  /** The rows of a query, a bounded number of them in memory. */
  each<Row extends object>(text: string, values?: readonly unknown[]): AsyncGenerator<Row, void, undefined>
}

/** Thrown by a mutation that finds what it read changed before it had locked it: it is begun anew. */
export class ChangedMeanwhile extends Error {}

/** How often a mutation is tried in all, and how long it waits between: a random time below a limit that doubles. */
const ATTEMPTS = 12
const FIRST_DELAY_MS = 2
const MAX_DELAY_MS = 200
/**
 * Serialization failure, deadlock, and what shows that another transaction was quicker: a name that has been taken, a directory that is gone.
 * The next attempt sees it and refuses by name.
 */
const WORTH_TRYING_AGAIN: readonly string[] = ['40001', '40P01', '23505', '23503']
const ROWS_AT_ONCE = 1000
/** No limits of time for an iteration: a slow reader is no fault. */
const VIEW = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
  SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout', 'statement_timeout')`
const CURSOR_NAME = 'holdfast'

export class SchemaDatabase implements Queries {
  readonly schema: string
  readonly tables: TablePaths
  readonly #pool: PostgresPool
  readonly #begin: string
  readonly #running = new Set<Promise<unknown>>()
  readonly #views = new Set<Connection>()
  #isClosed = false

  constructor(pool: PostgresPool, schema: string) {
    this.schema = schema
    this.#pool = pool
    const path = (name: string): string => `${quoteName(schema)}.${quoteName(name)}`
    const tables = Object.fromEntries(TABLES.map((name) => [name, path(name)])) as Omit<TablePaths, 'inode_numbers'>
    this.tables = { ...tables, inode_numbers: quoteText(path('inode_numbers')) }
    this.#begin = `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_try_advisory_xact_lock_shared(${writeLockKey(schema).join(', ')}) AS given`
  }

  /** One query by itself. */
  async rows<Row extends object>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    return await this.#track(async () => {
      const connection = await this.#connect('Cannot read the metadata store')
      try {
        return await connection.rows<Row>(text, values)
      } finally {
        connection.release()
      }
    })
  }

  /**
   * Runs a mutation in one transaction: all of it is made, or nothing. It may be called several times. `restore_in_progress` while writers are
   * held off. It reads what is committed at each of its statements, and so locks what it goes by.
   */
  async write<T>(work: (transaction: Queries) => Promise<T>): Promise<T> {
    return await this.#track(async () => {
      for (let attempt = 1; ; attempt++) {
        try {
          return await this.#writeOnce(work)
        } catch (error) {
          if (!isWorthTryingAgain(error) || attempt === ATTEMPTS) throw error
        }
        await delay(Math.random() * Math.min(FIRST_DELAY_MS * 2 ** attempt, MAX_DELAY_MS))
      }
    })
  }

  /** Iterates over one instant. It takes a connection from its first step on, and gives it back when it ends or is left. */
  async *view<T>(open: (view: View) => AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    this.#checkOpen()
    const connection = await this.#connect('Cannot read the metadata store')
    this.#views.add(connection)
    try {
      await connection.rows(VIEW)
      yield* open(connection)
    } finally {
      this.#views.delete(connection)
      await connection.rollBack()
    }
  }

  /** Waits for reads and mutations under way; cuts off views that were not read to their end. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.allSettled(this.#running)
    for (const view of this.#views) view.destroy()
  }

  async #writeOnce<T>(work: (transaction: Queries) => Promise<T>): Promise<T> {
    const connection = await this.#connect('Cannot change the metadata store')
    try {
      const [lock] = await connection.rows<{ given: boolean }>(this.#begin)
      if (lock?.given !== true) throw new RestoreInProgressError('Cannot write to the store: it is being restored')
      const result = await work(connection)
      await connection.commit()
      return result
    } catch (error) {
      await connection.rollBack()
      throw error
    } finally {
      connection.release()
    }
  }

  async #connect(action: string): Promise<Connection> {
    const failed = (error: unknown): Error => storeError(error, action)
    const client = await this.#pool.connect().catch((error: unknown) => {
      throw failed(error)
    })
    return new Connection(client, { schema: this.schema, tables: this.tables, toError: failed })
  }

  async #track<T>(operation: () => Promise<T>): Promise<T> {
    this.#checkOpen()
    const running = operation()
    this.#running.add(running)
    try {
      return await running
    } finally {
      this.#running.delete(running)
    }
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new StoreUnavailableError('Cannot use the store: it was closed')
  }
}

interface ConnectionOptions {
  readonly schema: string
  readonly tables: TablePaths
  readonly toError: (error: unknown) => Error
}

/** A client that was taken from the pool, until it is given back. */
class Connection implements View {
  readonly schema: string
  readonly tables: TablePaths
  readonly #client: PostgresClient
  readonly #toError: (error: unknown) => Error
  // What breaks a connection reaches the statement that runs on it, or the next one.
  readonly #ignore = (): void => undefined
  #isReleased = false
  #isBroken = false

  constructor(client: PostgresClient, { schema, tables, toError }: ConnectionOptions) {
    this.schema = schema
    this.tables = tables
    this.#client = client
    this.#toError = toError
    client.on('error', this.#ignore)
  }

  /** The rows of a statement, or of the last of several that have no values. */
  async rows<Row extends object>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    if (this.#isReleased) throw new StoreUnavailableError('Cannot use the store: it was closed')
    try {
      const result = await this.#client.query(text, values.length === 0 ? undefined : [...values])
      const last = Array.isArray(result) ? (result as (typeof result)[]).at(-1) : result
      return (last?.rows ?? []) as Row[]
    } catch (error) {
      this.#isBroken ||= isBroken(error)
      throw this.#toError(error)
    }
  }

  async *each<Row extends object>(text: string, values: readonly unknown[] = []): AsyncGenerator<Row, void, undefined> {
    await this.rows(`DECLARE ${CURSOR_NAME} NO SCROLL CURSOR FOR ${text}`, values)
    for (let isMore = true; isMore; ) {
      const rows = await this.rows<Row>(`FETCH ${ROWS_AT_ONCE} FROM ${CURSOR_NAME}`)
      isMore = rows.length === ROWS_AT_ONCE
      yield* rows
    }
    await this.rows(`CLOSE ${CURSOR_NAME}`)
  }

  /** Ends the transaction. When the connection breaks meanwhile, nobody knows how: the error says so. */
  async commit(): Promise<void> {
    try {
      await this.rows('COMMIT')
    } catch (error) {
      if (!this.#isBroken || !isHoldfastError(error)) throw error
      const hint = 'Look whether the change was made before trying again: the connection broke while it was committed'
      throw new StoreUnavailableError(error.message, { cause: error.cause, retryable: error.retryable, hint, details: { ...error.details, outcome: 'unknown' } })
    }
  }

  /** Ends a transaction that is given up, and gives the client back. */
  async rollBack(): Promise<void> {
    if (this.#isReleased) return
    if (!this.#isBroken) await this.rows('ROLLBACK').catch(() => this.destroy())
    this.release()
  }

  release(): void {
    if (this.#isBroken) return this.destroy()
    if (this.#isReleased) return
    this.#isReleased = true
    this.#client.removeListener('error', this.#ignore)
    this.#client.release()
  }

  /** Cuts the connection; the server ends the transaction when it notices. */
  destroy(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    // A connection that is being cut may still say so: it is listened to until its end.
    this.#client.release(true)
  }
}

/** What a read or a mutation failed with. A statement that breaks a rule of the tables is a fault of the store's own. */
function storeError(error: unknown, action: string): Error {
  const state = sqlStateOf(error)
  if (state !== undefined && /^2[23]/.test(state)) {
    return new InternalError(`${action}: ${error instanceof Error ? error.message : String(error)}`, { cause: error, details: { sqlState: state } })
  }
  return postgresError(error, { action, badData: 'invalid' })
}

function isWorthTryingAgain(error: unknown): boolean {
  if (error instanceof ChangedMeanwhile) return true
  return isHoldfastError(error) && WORTH_TRYING_AGAIN.includes(String(error.details['sqlState']))
}

/** Whether a connection is of no more use: it broke, or the server ended it. */
function isBroken(error: unknown): boolean {
  const state = sqlStateOf(error)
  return state === undefined || state.startsWith('08') || state.startsWith('57P')
}
