/** A connection that is read on and on, and given back when nobody reads it any more. */
import { StoreUnavailableError } from '../../../errors/errors.ts'
import type { Connection, ReadSource, TablePaths, View } from './connection.ts'

export class HeldView implements ReadSource {
  readonly schema: string
  readonly tables: TablePaths
  readonly #connection: Connection
  readonly #release: () => Promise<void>
  #reading = 0
  #whenIdle: (() => void) | undefined
  #closed: Promise<void> | undefined

  /** The connection is within a transaction; `release` ends the view's use of it. */
  constructor(connection: Connection, release: () => Promise<void>) {
    this.schema = connection.schema
    this.tables = connection.tables
    this.#connection = connection
    this.#release = release
  }

  async rows<Row extends object>(text: string, values?: readonly unknown[]): Promise<Row[]> {
    this.#begin()
    try {
      return await this.#connection.rows<Row>(text, values)
    } finally {
      this.#end()
    }
  }

  async *iterate<T>(open: (view: View) => AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    this.#begin()
    try {
      yield* open(this.#connection)
    } finally {
      this.#end()
    }
  }

  /** Waits for reads and iterations under way; those that come after it are refused. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    if (this.#reading > 0) await new Promise<void>((resolve) => (this.#whenIdle = resolve))
    await this.#release()
  }

  #begin(): void {
    if (this.#closed !== undefined) throw new StoreUnavailableError('Cannot use the view of the store: it was closed')
    this.#reading++
  }

  #end(): void {
    this.#reading--
    if (this.#reading === 0) this.#whenIdle?.()
  }
}
