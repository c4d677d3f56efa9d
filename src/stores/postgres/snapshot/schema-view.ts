/** One snapshot of the database, on all connections that read from it. */
import { StoreUnavailableError } from '../../../errors/errors.ts'
import { type SequenceValue, MONEY_LOCALE } from './archive.ts'
import { type PostgresPool, quoteName, quoteText } from '../connection/client.ts'
import type { CopyRunner, TableSize } from './copy-ranges.ts'
import { type FoundSchema, type SchemaScope, findParents, findSchema, findTables } from './definition.ts'
import { refuseOutside } from './outside.ts'
import { sqlStateOf } from '../connection/server-errors.ts'
import type { Connection } from '../connection/connection.ts'
import { type TransactionOptions, type TransactionScope, HOLD_ON, openTransaction } from './open-transaction.ts'

export interface SchemaViewOptions extends SchemaScope, TransactionScope {
  /** How many connections read at once. */
  readonly connections: number
}

/** What is known of a schema before its rows are read. */
interface ViewState {
  readonly snapshotId: string
  readonly openedAtMs: number
  readonly found: FoundSchema
  readonly sizes: readonly TableSize[]
  readonly pageBytes: number
  readonly sequences: readonly SequenceValue[]
}

const READ_ONLY = 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY'
/**
 * What sorting payload IDs may take of the server's memory before it goes to disk. Ranges of pages are read as such, and all in the order
 * of the table: the server's other processors are for others. The archive says by which locale money is spelled.
 */
const SETTINGS = { work_mem: '64MB', enable_tidscan: 'on', max_parallel_workers_per_gather: '0', lc_monetary: MONEY_LOCALE }
/** Sequences that one query reads. */
const SEQUENCES_AT_ONCE = 200
/** How often the tables are found and locked anew where they change in between, or are locked in another order by what changes them. */
const LOCK_ATTEMPTS = 3
/** SQLSTATE: a lock is not to be had. */
const IS_LOCKED = '55P03'
/** SQLSTATE: a deadlock, a table that is gone. */
const CHANGES: readonly unknown[] = ['40P01', '42P01']
/** SQLSTATE: undefined object, or, before version 17, invalid parameter value. */
const SNAPSHOT_GONE: readonly unknown[] = ['42704', '22023']

export class SchemaView {
  readonly state: ViewState
  readonly #pool: PostgresPool
  readonly #options: SchemaViewOptions
  readonly #lock: string | undefined
  readonly #first: Connection
  readonly #sessions: Connection[]
  #isClosed = false

  private constructor(pool: PostgresPool, options: SchemaViewOptions, { session, lock, state }: LockedSession & { readonly state: ViewState }) {
    this.#pool = pool
    this.#options = options
    this.#lock = lock
    this.#first = session
    this.#sessions = [session]
    this.state = state
  }

  static async open(pool: PostgresPool, options: SchemaViewOptions): Promise<SchemaView> {
    const { session, lock } = await lockedSession(pool, options)
    return await orDestroy(session, async () => {
      const state = await readState(session, options)
      await holdOn(session, options)
      return new SchemaView(pool, options, { session, lock, state })
    })
  }

  /**
   * Runs the COPY commands on all connections, and one task on the first of them that is free for it. Resolves when all was sent; a
   * connection that the pool has not given by then is not waited for.
   */
  async read(runner: CopyRunner, task: (session: Connection) => Promise<void>): Promise<void> {
    const { connections, interrupt } = this.#options
    const joined: Promise<void>[] = []
    let isTaken = false
    const takeTask = async (session: Connection): Promise<void> => {
      if (isTaken) return
      isTaken = true
      await task(session)
    }
    const help = async (): Promise<void> => {
      const session = await this.#join()
      if (session === undefined) return
      const helping = takeTask(session).then(() => runner.run(session))
      joined.push(helping)
      await helping
    }
    for (let helper = 1; helper < connections; helper++) {
      help().catch((error: unknown) => {
        if (!this.#isClosed) interrupt.fail(error)
      })
    }
    await runner.run(this.#first)
    await takeTask(this.#first)
    await Promise.all(joined)
  }

  /** Throws when the tables that were read are no longer those of the schema: it was swapped while it was read. */
  async check(): Promise<void> {
    const { schema } = this.#options
    const { tables } = this.state.found
    const names = tables.map(({ name }) => `${quoteName(schema)}.${quoteName(name)}`)
    const rows = await this.#first.rows<{ oid: number | null }>(
      'SELECT to_regclass(name)::oid AS oid FROM unnest($1::text[]) WITH ORDINALITY AS given (name, n) ORDER BY n',
      [names],
    )
    if (rows.every(({ oid }, index) => oid === tables[index]?.oid)) return
    throw new StoreUnavailableError(`Cannot back up the schema "${schema}": its tables were replaced meanwhile`, { retryable: true })
  }

  /** Ends all transactions. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all(this.#sessions.map((session) => session.commit()))
  }

  /** Cuts all connections. */
  destroy(): void {
    this.#isClosed = true
    for (const session of this.#sessions) session.destroy()
  }

  /**
   * One more connection on the same snapshot; `undefined` when it comes too late, or cannot lock the tables at once: another session
   * waits for the first connection to let go of them then, and this one would wait for that session.
   */
  async #join(): Promise<Connection | undefined> {
    const { schema } = this.#options
    const session = await this.#joined().catch((error: unknown) => {
      if (sqlStateOf(error) === IS_LOCKED) return undefined
      throw SNAPSHOT_GONE.includes(sqlStateOf(error)) ? new StoreUnavailableError(`Cannot back up the schema "${schema}": the connection that holds its snapshot is gone`, { cause: error, retryable: true }) : error
    })
    if (session === undefined || this.#isClosed) {
      session?.destroy()
      return undefined
    }
    this.#sessions.push(session)
    return session
  }

  async #joined(): Promise<Connection> {
    const snapshot = `SET TRANSACTION SNAPSHOT ${quoteText(this.state.snapshotId)}`
    const session = await begin(this.#pool, this.#options, [READ_ONLY, snapshot, ...(this.#lock === undefined ? [] : [`${this.#lock} NOWAIT`])])
    return await orDestroy(session, async () => {
      await holdOn(session, this.#options)
      return session
    })
  }
}

interface LockedSession {
  readonly session: Connection
  /** What locked the tables; nothing where there are none. */
  readonly lock: string | undefined
}

/** Begins a transaction that has locked all tables before its snapshot was taken: none can be truncated or rewritten from then on. */
async function lockedSession(pool: PostgresPool, options: SchemaViewOptions): Promise<LockedSession> {
  let cause: unknown
  for (let attempt = 1; attempt <= LOCK_ATTEMPTS; attempt++) {
    const locked = await lockOnce(pool, options).catch((error: unknown) => {
      if (!CHANGES.includes(sqlStateOf(error))) throw error
      cause = error
      return undefined
    })
    if (locked !== undefined) return locked
  }
  throw new StoreUnavailableError(`Cannot back up the schema "${options.schema}": its tables keep changing`, { cause, retryable: true })
}

/** `undefined` when the tables that were locked are not those that are there by then. */
async function lockOnce(pool: PostgresPool, options: SchemaViewOptions): Promise<LockedSession | undefined> {
  const { schema, lockTimeoutMs } = options
  const finding = await begin(pool, options, ['BEGIN READ ONLY'])
  const { tables, parents } = await orDestroy(finding, async () => {
    const found = { tables: await findTables(finding, options), parents: await findParents(finding, options) }
    await finding.commit()
    return found
  })
  const names = [...parents, ...tables.map(({ name }) => name)].map((name) => `ONLY ${quoteName(schema)}.${quoteName(name)}`)
  const lock = names.length === 0 ? undefined : `LOCK TABLE ${names.join(', ')} IN ACCESS SHARE MODE`
  const patience = ['SET LOCAL statement_timeout = 0', `SET LOCAL lock_timeout = ${lockTimeoutMs}`]
  const session = await begin(pool, options, [READ_ONLY, ...patience, ...(lock === undefined ? [] : [lock])])
  const locked = await orDestroy(session, () => findTables(session, options))
  if (locked.length === tables.length && locked.every(({ oid }, index) => oid === tables[index]?.oid)) return { session, lock }
  session.destroy()
  return undefined
}

/**
 * Lets a session wait for an index that is made anew, however long that takes. Of more than two connections, one may wait for a session
 * that waits for another of them: then none waits longer than for other locks.
 */
async function holdOn(session: Connection, { connections, lockTimeoutMs }: SchemaViewOptions): Promise<void> {
  await session.rows(`SET LOCAL lock_timeout = ${connections > 2 ? lockTimeoutMs : 0}; ${HOLD_ON}`)
}

function begin(pool: PostgresPool, options: SchemaViewOptions, statements: TransactionOptions['begin']): Promise<Connection> {
  return openTransaction(pool, { ...options, begin: statements, settings: SETTINGS, failures: { action: `Cannot back up the schema "${options.schema}"` } })
}

/** Cuts the connection when the task fails. */
async function orDestroy<T>(session: Connection, task: () => Promise<T>): Promise<T> {
  try {
    return await task()
  } catch (error) {
    session.destroy()
    throw error
  }
}

async function readState(session: Connection, scope: SchemaScope): Promise<ViewState> {
  const openedAtMs = Date.now()
  const [exported] = await session.rows<{ id: string; page_bytes: number }>(`SELECT pg_export_snapshot() AS id, current_setting('block_size')::int AS page_bytes`)
  const pageBytes = exported?.page_bytes ?? 8192
  const found = await findSchema(session, scope)
  await refuseOutside(session, scope)
  const rows = await session.rows<{ pages: string }>(
    'SELECT pg_relation_size(oid) / $2 AS pages FROM unnest($1::oid[]) WITH ORDINALITY AS given (oid, n) ORDER BY n',
    [found.tables.map(({ oid }) => oid), pageBytes],
  )
  const sizes = found.tables.map((table, index) => ({ table, pages: Number(rows[index]?.pages ?? 0) }))
  // Sequences are outside of snapshots. Read after it was taken, they are beyond all values that are in it.
  return { snapshotId: exported?.id ?? '', openedAtMs, found, sizes, pageBytes, sequences: await readSequences(session, scope.schema, found.sequences) }
}

async function readSequences(session: Connection, schema: string, names: readonly string[]): Promise<readonly SequenceValue[]> {
  const values: SequenceValue[] = []
  for (let from = 0; from < names.length; from += SEQUENCES_AT_ONCE) {
    const queries = names
      .slice(from, from + SEQUENCES_AT_ONCE)
      .map((name, index) => `SELECT ${index} AS n, last_value::text AS last, is_called AS called FROM ${quoteName(schema)}.${quoteName(name)}`)
    const rows = await session.rows<{ n: number; last: string; called: boolean }>(`${queries.join(' UNION ALL ')} ORDER BY n`)
    for (const { n, last, called } of rows) values.push({ name: names[from + n] ?? '', lastValue: last, isCalled: called })
  }
  return values
}
