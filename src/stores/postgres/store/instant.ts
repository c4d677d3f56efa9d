/** A transaction that goes on showing one instant, to any number of reads at once. */
import { StoreUnavailableError } from '../../../errors.ts'
import type { InodeNumber } from '../../../metadata/metadata-store.ts'
import type { Connection, Source, TablePaths, View } from './connection.ts'

export class Instant implements Source {
  readonly schema: string
  readonly tables: TablePaths
  readonly #connection: Connection
  readonly #nextInode: InodeNumber
  readonly #end: () => Promise<void>
  #reads = 0
  #onIdle: (() => void) | undefined
  #closed: Promise<void> | undefined

  private constructor(connection: Connection, { nextInode, end }: { readonly nextInode: InodeNumber; readonly end: () => Promise<void> }) {
    this.schema = connection.schema
    this.tables = connection.tables
    this.#connection = connection
    this.#nextInode = nextInode
    this.#end = end
  }

  /** Shows the transaction that is open on the connection; `end` is called once, when the instant is closed. */
  static async of(connection: Connection, end: () => Promise<void>): Promise<Instant> {
    // A sequence shows what it is now: as it is read after the transaction's snapshot was taken, all numbers in that are below.
    const [row] = await connection.rows<{ next: unknown }>(
      `SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END AS next FROM ${connection.tables.sequence}`,
    )
    return new Instant(connection, { nextInode: Number(row?.next), end })
  }

  async rows<Row extends object>(text: string, values?: readonly unknown[]): Promise<Row[]> {
    this.#enter()
    try {
      return await this.#connection.rows<Row>(text, values)
    } finally {
      this.#leave()
    }
  }

  async *view<T>(open: (view: View) => AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    this.#enter()
    try {
      yield* open(this.#connection)
    } finally {
      this.#leave()
    }
  }

  /** The number that the next inode would have got when the instant began. */
  async nextInode(): Promise<InodeNumber> {
    this.#checkOpen()
    return this.#nextInode
  }

  /** Waits for reads under way, iterations included; those after it are refused. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    if (this.#reads > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve))
    await this.#end()
  }

  #enter(): void {
    this.#checkOpen()
    this.#reads++
  }

  #leave(): void {
    if (--this.#reads === 0) this.#onIdle?.()
  }

  #checkOpen(): void {
    if (this.#closed !== undefined) throw new StoreUnavailableError('Cannot read the view: it was closed')
  }
}
