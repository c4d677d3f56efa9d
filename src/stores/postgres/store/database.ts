/** A schema as the metadata store uses it: single reads, transactions that are tried again, and views of one instant. */
import { setTimeout as delay } from 'node:timers/promises'
import { RestoreInProgressError, StoreUnavailableError, isHoldfastError } from '../../../errors.ts'
import type { PostgresPool } from '../snapshot/client.ts'
import { postgresError } from '../snapshot/errors.ts'
import { writeLockKey } from '../write-lock.ts'
import { type Queries, type Source, type TablePaths, type View, Connection, pathsOf, storeError, tablesOf } from './connection.ts'
import { Instant } from './instant.ts'

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
/** How long an import waits for the writers under way. */
const LOCK_TIMEOUT_MS = 10_000
/** No limits of time where others are waited for: a slow reader, or a slow source, is no fault. */
const NO_LIMITS = `SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout', 'statement_timeout')`

export class SchemaDatabase implements Source {
  readonly schema: string
  readonly tables: TablePaths
  readonly #pool: PostgresPool
  readonly #begin: string
  readonly #beginAlone: string
  readonly #beginView: string
  readonly #running = new Set<Promise<unknown>>()
  readonly #views = new Set<Connection>()
  #isClosed = false

  constructor(pool: PostgresPool, schema: string) {
    this.schema = schema
    this.#pool = pool
    this.tables = tablesOf(schema)
    const key = writeLockKey(schema).join(', ')
    const paths = pathsOf(this.tables).join(', ')
    this.#begin = `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_try_advisory_xact_lock_shared(${key}) AS given`
    this.#beginAlone = `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; ${NO_LIMITS}; SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS};
      SELECT pg_advisory_xact_lock(${key}); LOCK TABLE ${paths} IN SHARE ROW EXCLUSIVE MODE`
    // The locks keep tables from being filled as if the rows had always been there. What comes after them, the first query, takes the snapshot.
    this.#beginView = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE ${paths} IN ACCESS SHARE MODE; ${NO_LIMITS}`
  }

  /** One query by itself. */
  async rows<Row extends object>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    return await this.#track(async () => {
      const connection = await this.#connect(readError)
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

  /** Runs work in one transaction beside which nobody writes. `store_not_drained` when writers do not end in time; new ones are refused meanwhile. */
  async writeAlone<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    const action = 'Cannot import into the metadata store'
    return await this.#track(() =>
      this.#transact(work, { toError: (error) => postgresError(error, { action, badData: 'invalid' }), begin: (connection) => connection.rows(this.#beginAlone) }),
    )
  }

  /** Iterates over one instant. It takes a connection from its first step on, and gives it back when it ends or is left. */
  async *view<T>(open: (view: View) => AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    this.#checkOpen()
    const connection = await this.#beginReading()
    try {
      yield* open(connection)
    } finally {
      await this.#endReading(connection)
    }
  }

  /** One instant, which keeps a connection until it is closed. */
  async openInstant(): Promise<Instant> {
    return await this.#track(async () => {
      const connection = await this.#beginReading()
      try {
        return await Instant.of(connection, () => this.#endReading(connection))
      } catch (error) {
        await this.#endReading(connection)
        throw error
      }
    })
  }

  /** Waits for reads and mutations under way; cuts off views that were not read to their end. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.allSettled(this.#running)
    for (const view of this.#views) view.destroy()
  }

  async #writeOnce<T>(work: (transaction: Queries) => Promise<T>): Promise<T> {
    const begin = async (connection: Connection): Promise<void> => {
      const [lock] = await connection.rows<{ given: boolean }>(this.#begin)
      if (lock?.given !== true) throw new RestoreInProgressError('Cannot write to the store: it is being restored, or imported into')
    }
    return await this.#transact(work, { begin, toError: (error) => storeError(error, 'Cannot change the metadata store') })
  }

  async #transact<T>(
    work: (connection: Connection) => Promise<T>,
    { begin, toError }: { readonly begin: (connection: Connection) => Promise<unknown>; readonly toError: (error: unknown) => Error },
  ): Promise<T> {
    const connection = await this.#connect(toError)
    try {
      await begin(connection)
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

  async #beginReading(): Promise<Connection> {
    const connection = await this.#connect(readError)
    this.#views.add(connection)
    try {
      await connection.rows(this.#beginView)
      return connection
    } catch (error) {
      await this.#endReading(connection)
      throw error
    }
  }

  async #endReading(connection: Connection): Promise<void> {
    this.#views.delete(connection)
    await connection.rollBack()
  }

  async #connect(toError: (error: unknown) => Error): Promise<Connection> {
    const client = await this.#pool.connect().catch((error: unknown) => {
      throw toError(error)
    })
    return new Connection(client, { schema: this.schema, tables: this.tables, toError })
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

function readError(error: unknown): Error {
  return storeError(error, 'Cannot read the metadata store')
}

function isWorthTryingAgain(error: unknown): boolean {
  if (error instanceof ChangedMeanwhile) return true
  return isHoldfastError(error) && WORTH_TRYING_AGAIN.includes(String(error.details['sqlState']))
}
