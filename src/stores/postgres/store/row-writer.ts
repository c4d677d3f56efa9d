import type { ImportOptions } from '../../../metadata/metadata-store.ts'
import type { Queries } from './connection.ts'

/** What one statement carries: the first of these that is reached. */
const BATCH_ROWS = 2000
const BATCH_LENGTH: number = 1024 * 1024

/** Counts the rows of all writers of an import, and ends it when it is to end. */
export class RowCounter {
  readonly #options: ImportOptions
  #records = 0

  constructor(options: ImportOptions) {
    this.#options = options
  }

  add(records: number): void {
    this.#records += records
    this.#options.onProgress?.({ records: this.#records })
    this.#options.signal?.throwIfAborted()
  }
}

export interface RowWriterOptions<Column extends string> {
  /** The path of the table. */
  readonly table: string
  readonly columns: readonly Column[]
  readonly counter: RowCounter
}

/** Gathers rows of one table, and has a batch of them inserted while the next are gathered. */
export class RowWriter<Column extends string> {
  readonly #queries: Queries
  readonly #insert: string
  readonly #counter: RowCounter
  #rows: string[] = []
  #length = 0
  #written: Promise<unknown> = Promise.resolve()

  constructor(queries: Queries, { table, columns, counter }: RowWriterOptions<Column>) {
    const names = columns.join(', ')
    this.#queries = queries
    // The one form that takes arrays of any length within a row.
    this.#insert = `INSERT INTO ${table} (${names}) SELECT ${names} FROM json_populate_recordset(NULL::${table}, $1::json)`
    this.#counter = counter
  }

  get isFull(): boolean {
    return this.#rows.length >= BATCH_ROWS || this.#length >= BATCH_LENGTH
  }

  /** Values are as JSON has them; what is text in SQL, or a number of 64 bits, as text. */
  add(row: Readonly<Record<Column, unknown>>): void {
    const text = JSON.stringify(row)
    this.#rows.push(text)
    this.#length += text.length
  }

  /** Has the batch inserted; resolves when there may be more. Rejects when the one before failed, and when the import is to end. */
  async flush(): Promise<void> {
    await this.#written
    const rows = this.#rows
    if (rows.length === 0) return
    this.#written = this.#queries.rows(this.#insert, [`[${rows.join(',')}]`])
    // Seen by the next call.
    this.#written.catch(() => undefined)
    this.#rows = []
    this.#length = 0
    this.#counter.add(rows.length)
  }

  /** Resolves when all is inserted. */
  async end(): Promise<void> {
    await this.flush()
    await this.#written
  }
}
