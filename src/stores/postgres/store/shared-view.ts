/** One instant of the schema that many reads share; its connection is given back when the last of them has ended. */
import { StoreUnavailableError } from '../../../errors/errors.ts'
import { CLOSED_HINT } from '../../../errors/system-codes.ts'
import type { ReadSource, TablePaths, View } from './queries.ts'

export class SharedView implements ReadSource {
  readonly schema: string
  readonly tables: TablePaths
  readonly #view: View
  readonly #release: () => Promise<void>
  #reading = 0
  #whenIdle: (() => void) | undefined
  #closed: Promise<void> | undefined

  /** `release` ends the use of the view's connection. */
  constructor(view: View, release: () => Promise<void>) {
    this.schema = view.schema
    this.tables = view.tables
    this.#view = view
    this.#release = release
  }

  async rows<Row extends object>(text: string, values?: readonly unknown[]): Promise<Row[]> {
    this.#begin()
    try {
      return await this.#view.rows<Row>(text, values)
    } finally {
      this.#end()
    }
  }

  async *iterate<T>(open: (view: View) => AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    this.#begin()
    try {
      yield* open(this.#view)
    } finally {
      this.#end()
    }
  }

  /** Waits for reads and iterations under way; later ones are refused. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    if (this.#reading > 0) await new Promise<void>((resolve) => (this.#whenIdle = resolve))
    await this.#release()
  }

  #begin(): void {
    if (this.#closed !== undefined) throw new StoreUnavailableError('Cannot use the view of the store: it was closed', { hint: CLOSED_HINT })
    this.#reading++
  }

  #end(): void {
    this.#reading--
    if (this.#reading === 0) this.#whenIdle?.()
  }
}
