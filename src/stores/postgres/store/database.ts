/** A schema as the metadata store uses it: single reads, transactions that are tried again, and views of one instant. */
import { setTimeout as delay } from 'node:timers/promises'
import { failureAfter } from '../../../errors/clean-up.ts'
import { RestoreInProgressError, StoreUnavailableError } from '../../../errors/errors.ts'
import { CLOSED_HINT } from '../../../errors/system-codes.ts'
import { lockKey } from '../connection/advisory-locks.ts'
import type { PostgresPool, Queryable } from '../connection/client.ts'
import { Connection } from '../connection/connection.ts'
import { type FailureOptions, sqlStateOf } from '../connection/server-errors.ts'
import { CONFIRMED_IN_TIME, LONG_WORK, settingsStatement } from '../connection/settings.ts'
import { type Queries, type ReadSource, type TablePaths, TABLES, View, tablesOf } from './queries.ts'
import { SharedView } from './shared-view.ts'

/** Thrown by a mutation that finds what it read changed before it had locked it: it is begun anew. */
export class ChangedMeanwhile extends Error {}

/** How often a mutation or a query is tried in all, and how long it waits between: a random time below a limit that doubles. */
const ATTEMPTS = 12
const FIRST_DELAY_MS = 2
const MAX_DELAY_MS = 200
/**
 * SQLSTATE: serialization, deadlock, and where another was quicker: a name is taken, a directory gone. The next attempt sees it and refuses
 * by name.
 */
const WORTH_TRYING_AGAIN: readonly unknown[] = ['40001', '40P01', '23505', '23503']
const SET_LONG = settingsStatement({ ...LONG_WORK, ...CONFIRMED_IN_TIME }, { isLocal: true })
/** Of a mutation, whose statements follow one another: the server ends it when its client is gone, unless it does so sooner anyway. */
const IDLE_TIMEOUT_MS = 60_000
/** How long an import waits for the writers under way. */
const LOCK_TIMEOUT_MS = 10_000
/** A statement that breaks a rule of the tables is a fault of the store's own; in an import, of the view. */
const READ: FailureOptions = { action: 'Cannot read the metadata store', badData: 'internal' }
const CHANGE: FailureOptions = { action: 'Cannot change the metadata store', badData: 'internal' }
const IMPORT: FailureOptions = { action: 'Cannot import into the metadata store' }
const UNKNOWN_HINT = 'Look whether the change was made before trying again: the connection broke while it was committed'

export class SchemaDatabase implements ReadSource {
  readonly schema: string
  readonly tables: TablePaths
  readonly #pool: PostgresPool
  /** The write lock's key, and all tables, as they are written in SQL. */
  readonly #key: string
  readonly #paths: string
  readonly #answerTimeoutMs: number
  readonly #reads: Queryable
  readonly #running = new Set<Promise<unknown>>()
  readonly #views = new Set<Connection>()
  #isClosed = false

  /** `answerTimeoutMs` is how long the server may leave a statement unanswered. */
  constructor(pool: PostgresPool, { schema, answerTimeoutMs }: { readonly schema: string; readonly answerTimeoutMs: number }) {
    this.schema = schema
    this.#answerTimeoutMs = answerTimeoutMs
    this.#pool = pool
    this.tables = tablesOf(schema)
    this.#reads = Connection.queries(pool, { ...READ, answerTimeoutMs })
    this.#key = lockKey('writes', schema).join(', ')
    this.#paths = TABLES.map((name) => this.tables[name]).join(', ')
  }

  /** One query. A swap locks the tables in an order of its own: a query that a deadlock ends is made again. */
  async rows<Row extends object>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    return await this.#track(() => this.#tryAgain(() => this.#reads.rows<Row>(text, values)))
  }

  /**
   * Runs a mutation in one transaction: all of it is made, or nothing. It may be called several times. `restore_in_progress` while writers
   * are held off. It reads what is committed at each of its statements, and so locks what it goes by.
   */
  async write<T>(work: (transaction: Queries) => Promise<T>): Promise<T> {
    const text = `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_try_advisory_xact_lock_shared(${this.#key}) AS given,
      CASE current_setting('idle_in_transaction_session_timeout') WHEN '0' THEN set_config('idle_in_transaction_session_timeout', '${IDLE_TIMEOUT_MS}', true) END`
    const begin = async (connection: Connection): Promise<void> => requireGiven((await connection.rows<LockAnswer>(text))[0])
    return await this.#track(() => this.#tryAgain(() => this.#transact(work, { begin, failures: CHANGE })))
  }

  /** Iterates over one instant. It takes a connection from its first step on, and gives it back when it ends or is left. */
  async *iterate<T>(open: (view: View) => AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    const connection = await this.#openView()
    try {
      yield* open(new View(connection, this))
    } finally {
      await this.#closeView(connection)
    }
  }

  /** One instant, on a connection of its own until it is closed. */
  async hold(): Promise<SharedView> {
    const connection = await this.#openView()
    return new SharedView(new View(connection, this), () => this.#closeView(connection))
  }

  /**
   * Runs an import in one transaction while no other session writes: writers are refused meanwhile. `restore_in_progress` while writers are
   * held off by another, `store_not_drained` when those under way do not end in time.
   */
  async writeAlone<T>(work: (transaction: View) => Promise<T>): Promise<T> {
    const begin = async (connection: Connection): Promise<void> => {
      await connection.begin(`BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; ${SET_LONG}; SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`)
      // A shared lock that is given back at once shows whether another holds writers off; waiting for the exclusive one does so from then
      // on.
      const asked = `SELECT CASE WHEN pg_try_advisory_lock_shared(${this.#key}) THEN pg_advisory_unlock_shared(${this.#key}) ELSE false END AS given`
      requireGiven((await connection.rows<LockAnswer>(asked))[0])
      await connection.rows(`SELECT pg_advisory_xact_lock(${this.#key}); LOCK TABLE ${this.#paths} IN SHARE ROW EXCLUSIVE MODE`)
    }
    return await this.#track(() => this.#transact(work, { begin, failures: IMPORT }))
  }

  /** Waits for reads and mutations under way; cuts off views that were not read to their end. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.allSettled(this.#running)
    for (const view of this.#views) view.destroy()
  }

  async #tryAgain<T>(operation: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await operation()
      } catch (error) {
        if (!isWorthTryingAgain(error)) throw error
        if (attempt === ATTEMPTS) throw error instanceof ChangedMeanwhile ? new StoreUnavailableError(error.message, { cause: error, retryable: true }) : error
      }
      await delay(Math.random() * Math.min(FIRST_DELAY_MS * 2 ** attempt, MAX_DELAY_MS))
    }
  }

  async #transact<T>(
    work: (transaction: View) => Promise<T>,
    { begin, failures }: { readonly begin: (connection: Connection) => Promise<void>; readonly failures: FailureOptions },
  ): Promise<T> {
    const connection = await this.#connect(failures)
    return await connection.use(async () => {
      await begin(connection)
      return await work(new View(connection, this))
    }, UNKNOWN_HINT)
  }

  /** The instant is that of the first statement. */
  async #openView(): Promise<Connection> {
    this.#checkOpen()
    const connection = await this.#connect(READ)
    this.#views.add(connection)
    try {
      // A restore writes rows as if they had always been there, which the locks hold off. The first query takes the snapshot, and no lock
      // does.
      await connection.begin(`BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE ${this.#paths} IN ACCESS SHARE MODE; ${SET_LONG}`)
      return connection
    } catch (error) {
      throw await failureAfter(error, () => this.#closeView(connection))
    }
  }

  async #closeView(connection: Connection): Promise<void> {
    this.#views.delete(connection)
    await connection.rollBack()
  }

  async #connect(failures: FailureOptions): Promise<Connection> {
    return await Connection.open(this.#pool, { ...failures, answerTimeoutMs: this.#answerTimeoutMs })
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
    if (this.#isClosed) throw new StoreUnavailableError('Cannot use the store: it was closed', { hint: CLOSED_HINT })
  }
}

interface LockAnswer {
  readonly given?: boolean
}

function requireGiven(lock: LockAnswer | undefined): asserts lock {
  if (lock?.given !== true) throw new RestoreInProgressError('Cannot write to the store: it is being restored, or imported into')
}

function isWorthTryingAgain(error: unknown): boolean {
  return error instanceof ChangedMeanwhile || WORTH_TRYING_AGAIN.includes(sqlStateOf(error))
}
