/** A schema as the metadata store uses it: single reads, transactions that are tried again, and views of one instant. */
import { setTimeout as delay } from 'node:timers/promises'
import { RestoreInProgressError, StoreUnavailableError, isHoldfastError } from '../../../errors.ts'
import type { PostgresPool } from '../snapshot/client.ts'
import { writeLockKey } from '../write-lock.ts'
import { type Queries, type ReadSource, type TablePaths, type View, Connection, storeError, tablesOf } from './connection.ts'
import { HeldView } from './held-view.ts'

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
/** No limits of time for this transaction: a slow reader is no fault. */
const NO_LIMITS = `SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout', 'statement_timeout')`
const BEGIN_VIEW = 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY'

export class SchemaDatabase implements ReadSource {
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
    this.tables = tablesOf(schema)
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
          if (!isWorthTryingAgain(error)) throw error
          if (attempt === ATTEMPTS) throw error instanceof ChangedMeanwhile ? new StoreUnavailableError(error.message, { cause: error, retryable: true }) : error
        }
        await delay(Math.random() * Math.min(FIRST_DELAY_MS * 2 ** attempt, MAX_DELAY_MS))
      }
    })
  }

  /** Iterates over one instant. It takes a connection from its first step on, and gives it back when it ends or is left. */
  async *iterate<T>(open: (view: View) => AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    const connection = await this.#openView()
    try {
      yield* open(connection)
    } finally {
      await this.#closeView(connection)
    }
  }

  /** One instant, on a connection of its own until it is closed. */
  async hold(): Promise<HeldView> {
    const connection = await this.#openView()
    return new HeldView(connection, () => this.#closeView(connection))
  }

  /** Runs in one transaction what may take long and cannot be begun anew. */
  async writeLong<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    return await this.#track(() =>
      this.#writeOnce(async (connection) => {
        await connection.rows(NO_LIMITS)
        return await work(connection)
      }),
    )
  }

  /** Waits for reads and mutations under way; cuts off views that were not read to their end. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.allSettled(this.#running)
    for (const view of this.#views) view.destroy()
  }

  async #writeOnce<T>(work: (transaction: Connection) => Promise<T>): Promise<T> {
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

  /** The instant is that of the first statement. */
  async #openView(): Promise<Connection> {
    this.#checkOpen()
    const connection = await this.#connect('Cannot read the metadata store')
    this.#views.add(connection)
    try {
      await connection.rows(`${BEGIN_VIEW}; ${NO_LIMITS}`)
      return connection
    } catch (error) {
      await this.#closeView(connection)
      throw error
    }
  }

  async #closeView(connection: Connection): Promise<void> {
    this.#views.delete(connection)
    await connection.rollBack()
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

function isWorthTryingAgain(error: unknown): boolean {
  if (error instanceof ChangedMeanwhile) return true
  return isHoldfastError(error) && WORTH_TRYING_AGAIN.includes(String(error.details['sqlState']))
}
