/** What the statements of a metadata store run on, and how its tables are named in them. */
import { type Queryable, quoteName, quoteText } from '../connection/client.ts'
import type { Connection } from '../connection/connection.ts'

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
export interface Queries extends Queryable {
  readonly schema: string
  readonly tables: TablePaths
}

/** What a metadata store is read from: a schema as it is at each call, or one instant of it. */
export interface ReadSource extends Queries {
  /** Iterates over one instant. */
  iterate<T>(open: (view: View) => AsyncIterable<T>): AsyncIterable<T>
}

/** The rows of a query, all of one instant, each as `make` makes it. */
export function eachRow<Row extends object, T>(
  source: ReadSource,
  query: (view: View) => AsyncIterable<Row>,
  make: (row: Row) => T,
): AsyncIterable<T> {
  return source.iterate(async function* (view) {
    for await (const row of query(view)) yield make(row)
  })
}

export function tablesOf(schema: string): TablePaths {
  const path = (name: string): string => `${quoteName(schema)}.${quoteName(name)}`
  const tables = Object.fromEntries(TABLES.map((name) => [name, path(name)])) as Readonly<Record<TableName, string>>
  return { ...tables, inode_numbers: quoteText(path('inode_numbers')), inode_numbers_table: path('inode_numbers') }
}

/** Rows of a cursor that are in memory. */
const ROWS_AT_ONCE = 1000

/** A connection within a transaction: one instant of the schema, where that does not write. */
export class View implements ReadSource {
  readonly schema: string
  readonly tables: TablePaths
  readonly #connection: Connection
  #cursors = 0

  constructor(connection: Connection, { schema, tables }: Pick<Queries, 'schema' | 'tables'>) {
    this.schema = schema
    this.tables = tables
    this.#connection = connection
  }

  async rows<Row extends object>(text: string, values?: readonly unknown[]): Promise<Row[]> {
    return await this.#connection.rows<Row>(text, values)
  }

  /** The rows of a query, a bounded number of them in memory. */
  async *each<Row extends object>(text: string, values?: readonly unknown[]): AsyncGenerator<Row, void, undefined> {
    const cursor = `holdfast_${++this.#cursors}`
    await this.rows(`DECLARE ${cursor} NO SCROLL CURSOR FOR ${text}`, values)
    try {
      for (let isMore = true; isMore; ) {
        const rows = await this.rows<Row>(`FETCH ${ROWS_AT_ONCE} FROM ${cursor}`)
        isMore = rows.length === ROWS_AT_ONCE
        yield* rows
      }
    } finally {
      // After a failure the cursor goes with the transaction.
      if (!this.#connection.isLost) await this.rows(`CLOSE ${cursor}`).catch(() => undefined)
    }
  }

  /** Iterates over what the transaction that is open shows. */
  iterate<T>(open: (view: View) => AsyncIterable<T>): AsyncIterable<T> {
    return open(this)
  }
}
