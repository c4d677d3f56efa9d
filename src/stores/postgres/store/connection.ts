/** A connection of a pool as the store uses it, and how the tables are named on it. */
import { InternalError, StoreUnavailableError, isHoldfastError } from '../../../errors.ts'
import { type PostgresClient, quoteName, quoteText } from '../snapshot/client.ts'
import { postgresError, sqlStateOf } from '../snapshot/errors.ts'

const TABLES = ['inodes', 'entries', 'shares', 'blocks', 'uploads', 'upload_blocks', 'locks', 'settings', 'used_bytes'] as const

/** How each table is named in SQL, its schema with it. */
export type TablePaths = Readonly<Record<(typeof TABLES)[number], string>> & {
  /** The sequence of inode numbers, as text. */
  readonly inode_numbers: string
  /** The same sequence, as a relation. */
  readonly sequence: string
}

/** What statements run on: one connection, within a transaction or not. */
export interface Queries {
  readonly schema: string
  readonly tables: TablePaths
  rows<Row extends object>(text: string, values?: readonly unknown[]): Promise<Row[]>
}

/** What reads go to: the schema as it is at each of them, or one instant of it. */
export interface Source extends Queries {
  /** Iterates over one instant. */
  view<T>(open: (view: View) => AsyncIterable<T>): AsyncIterable<T>
}

/** One instant of the schema. */
export interface View extends Source {
  /** The rows of a query, a bounded number of them in memory. Several may be read at once. */
  each<Row extends object>(text: string, options?: EachOptions): AsyncGenerator<Row, void, undefined>
}

export interface EachOptions {
  readonly values?: readonly unknown[] | undefined
  /** Rows that are in memory. @default 1,000 */
  readonly rowsAtOnce?: number | undefined
}

export function tablesOf(schema: string): TablePaths {
  const path = (name: string): string => `${quoteName(schema)}.${quoteName(name)}`
  const tables = Object.fromEntries(TABLES.map((name) => [name, path(name)])) as Record<(typeof TABLES)[number], string>
  const sequence = path('inode_numbers')
  return { ...tables, inode_numbers: quoteText(sequence), sequence }
}

/** The paths of all tables, those that others refer to first. */
export function pathsOf(tables: TablePaths): readonly string[] {
  return TABLES.map((name) => tables[name])
}

const DEFAULT_ROWS_AT_ONCE = 1000

export interface ConnectionOptions {
  readonly schema: string
  readonly tables: TablePaths
  readonly toError: (error: unknown) => Error
}

/** A client that was taken from the pool, until it is given back. */
export class Connection implements View {
  readonly schema: string
  readonly tables: TablePaths
  readonly #client: PostgresClient
  readonly #toError: (error: unknown) => Error
  // What breaks a connection reaches the statement that runs on it, or the next one.
  readonly #ignore = (): void => undefined
  #isReleased = false
  #isBroken = false
  /** The statement that was asked for last: each waits for the one before. */
  #last: Promise<unknown> = Promise.resolve()
  #cursors = 0

  constructor(client: PostgresClient, { schema, tables, toError }: ConnectionOptions) {
    this.schema = schema
    this.tables = tables
    this.#client = client
    this.#toError = toError
    client.on('error', this.#ignore)
  }

  /** The rows of a statement, or of the last of several that have no values. */
  async rows<Row extends object>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    const running = this.#last.then(() => this.#run<Row>(text, values))
    this.#last = running.catch(this.#ignore)
    return await running
  }

  async *each<Row extends object>(text: string, { values = [], rowsAtOnce = DEFAULT_ROWS_AT_ONCE }: EachOptions = {}): AsyncGenerator<Row, void, undefined> {
    const cursor = `holdfast_${this.#cursors++}`
    await this.rows(`DECLARE ${cursor} NO SCROLL CURSOR FOR ${text}`, values)
    try {
      for (let isMore = true; isMore; ) {
        const rows = await this.rows<Row>(`FETCH ${rowsAtOnce} FROM ${cursor}`)
        isMore = rows.length === rowsAtOnce
        yield* rows
      }
    } finally {
      // It fails where a statement has failed before: the cursor went with the transaction.
      await this.rows(`CLOSE ${cursor}`).catch(this.#ignore)
    }
  }

  /** Iterates over the instant of the transaction that is open. */
  view<T>(open: (view: View) => AsyncIterable<T>): AsyncIterable<T> {
    return open(this)
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

  async #run<Row extends object>(text: string, values: readonly unknown[]): Promise<Row[]> {
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
}

/** What a read or a mutation failed with. A statement that breaks a rule of the tables is a fault of the store's own. */
export function storeError(error: unknown, action: string): Error {
  const state = sqlStateOf(error)
  if (state !== undefined && /^2[23]/.test(state)) {
    return new InternalError(`${action}: ${error instanceof Error ? error.message : String(error)}`, { cause: error, details: { sqlState: state } })
  }
  return postgresError(error, { action, badData: 'invalid' })
}

/** Whether a connection is of no more use: it broke, or the server ended it. */
function isBroken(error: unknown): boolean {
  const state = sqlStateOf(error)
  return state === undefined || state.startsWith('08') || state.startsWith('57P')
}
