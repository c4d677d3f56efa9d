/** A connection of a pool as the store uses it, and how the tables are named on it. */
import { messageOf } from '../../../errors/error-message.ts'
import { InternalError, StoreUnavailableError } from '../../../errors/errors.ts'
import type { Patience } from '../connection/answers.ts'
import { type PostgresClient, quoteName, quoteText } from '../connection/client.ts'
import { isConnectionOver, postgresError, sqlStateOf, unknownOutcome } from '../connection/server-errors.ts'

/** The tables of a snapshot. */
export const TABLES = ['inodes', 'entries', 'shares', 'blocks', 'uploads', 'upload_blocks', 'locks', 'settings', 'used_bytes'] as const
export type TableName = (typeof TABLES)[number]

/** How each table is named in SQL, its schema with it. */
export type TablePaths = Readonly<Record<TableName, string>> & {
  /** The sequence of inode numbers, as the text that functions take. */
  readonly inode_numbers: string
  /** The same as a relation. */
  readonly inode_numbers_table: string
}

/** What statements run on: one connection, within a transaction or not. */
export interface Queries {
  readonly schema: string
  readonly tables: TablePaths
  rows<Row extends object>(text: string, values?: readonly unknown[]): Promise<Row[]>
}

/** What a metadata store is read from: a schema as it is at each call, or one instant of it. */
export interface ReadSource extends Queries {
  /** Iterates over one instant. */
  iterate<T>(open: (view: View) => AsyncIterable<T>): AsyncIterable<T>
}

/** One instant of the schema. */
export interface View extends ReadSource {
  /** The rows of a query, a bounded number of them in memory. */
  each<Row extends object>(text: string, values?: readonly unknown[]): AsyncGenerator<Row, void, undefined>
}

export function tablesOf(schema: string): TablePaths {
  const path = (name: string): string => `${quoteName(schema)}.${quoteName(name)}`
  const tables = Object.fromEntries(TABLES.map((name) => [name, path(name)])) as Readonly<Record<TableName, string>>
  return { ...tables, inode_numbers: quoteText(path('inode_numbers')), inode_numbers_table: path('inode_numbers') }
}

/** Rows of a cursor that are in memory. */
const ROWS_AT_ONCE = 1000

export interface ConnectionOptions {
  readonly schema: string
  readonly tables: TablePaths
  readonly toError: (error: unknown) => Error
  /** How answers are waited for. */
  readonly patience: Patience
}

/** A client that was taken from the pool, until it is given back. */
export class Connection implements View {
  readonly schema: string
  readonly tables: TablePaths
  readonly #client: PostgresClient
  readonly #toError: (error: unknown) => Error
  // What breaks a connection reaches the statement that runs on it, or the next one.
  readonly #ignore = (): void => undefined
  #patience: Patience
  #isReleased = false
  #isBroken = false
  #isFailed = false
  #cursors = 0
  #last: Promise<unknown> = Promise.resolve()

  constructor(client: PostgresClient, { schema, tables, toError, patience }: ConnectionOptions) {
    this.schema = schema
    this.#patience = patience
    this.tables = tables
    this.#client = client
    this.#toError = toError
    client.on('error', this.#ignore)
  }

  /** How answers are waited for from now on. */
  beWith(patience: Patience): void {
    this.#patience = patience
  }

  /** The rows of a statement, or of the last of several that have no values. One statement runs after the other. */
  async rows<Row extends object>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    const running = this.#last.then(() => this.#rows<Row>(text, values))
    this.#last = running.catch(() => undefined)
    return await running
  }

  async *each<Row extends object>(text: string, values: readonly unknown[] = []): AsyncGenerator<Row, void, undefined> {
    const cursor = `holdfast_${++this.#cursors}`
    await this.rows(`DECLARE ${cursor} NO SCROLL CURSOR FOR ${text}`, values)
    try {
      for (let isMore = true; isMore; ) {
        const rows = await this.rows<Row>(`FETCH ${ROWS_AT_ONCE} FROM ${cursor}`)
        isMore = rows.length === ROWS_AT_ONCE
        yield* rows
      }
    } finally {
      // After a failure the whole transaction is given up.
      if (!this.#isReleased && !this.#isFailed) await this.rows(`CLOSE ${cursor}`)
    }
  }

  /** Iterates over what the transaction that is open shows. */
  iterate<T>(open: (view: View) => AsyncIterable<T>): AsyncIterable<T> {
    return open(this)
  }

  async #rows<Row extends object>(text: string, values: readonly unknown[]): Promise<Row[]> {
    if (this.#isReleased) throw new StoreUnavailableError('Cannot use the store: it was closed')
    try {
      const result = await this.#patience(this.#client.query(text, values.length === 0 ? undefined : [...values]))
      const last = Array.isArray(result) ? (result as (typeof result)[]).at(-1) : result
      return (last?.rows ?? []) as Row[]
    } catch (error) {
      this.#isFailed = true
      this.#isBroken ||= isConnectionOver(error)
      throw this.#toError(error)
    }
  }

  /** Ends the transaction. When the connection breaks meanwhile, nobody knows how: the error says so. */
  async commit(): Promise<void> {
    try {
      await this.rows('COMMIT')
    } catch (error) {
      throw this.#isBroken ? unknownOutcome(error as Error, 'Look whether the change was made before trying again: the connection broke while it was committed') : error
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
export function storeError(error: unknown, action: string): Error {
  const state = sqlStateOf(error)
  if (state !== undefined && /^2[23]/.test(state)) {
    return new InternalError(`${action}: ${messageOf(error)}`, { cause: error, details: { sqlState: state } })
  }
  return postgresError(error, { action, badData: 'invalid' })
}
