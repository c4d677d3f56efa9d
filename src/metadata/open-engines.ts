/** The open engines of a home: each is opened only once, however many callers ask at the same time. */
import { StoreUnavailableError } from '../errors/errors.ts'
import { CLOSED_HINT } from '../errors/system-codes.ts'
import type { MetadataStore } from '../contracts/metadata-store.ts'

interface OpenEngine {
  readonly place: string
  readonly store: Promise<MetadataStore>
}

export class OpenEngines {
  readonly #home: string
  readonly #toError: (place: string, error: unknown) => Error
  readonly #open = new Map<string, OpenEngine>()
  readonly #closing = new Map<string, Promise<void>>()
  #isClosed = false

  /** `home` completes "the store": `at "/path"`. `toError` turns the failure of an opening into the callers' error. */
  constructor(home: string, toError: (place: string, error: unknown) => Error) {
    this.#home = home
    this.#toError = toError
  }

  has(engine: string): boolean {
    return this.#open.has(engine)
  }

  /** Returns the open engine, or opens it with `open`. An engine that a swap has moved is closed at its old place first. */
  async opened(engine: string, { place, open }: { readonly place: string; readonly open: () => Promise<MetadataStore> }): Promise<MetadataStore> {
    if (this.#isClosed) throw new StoreUnavailableError(`Cannot use the store ${this.#home}: it was closed`, { hint: CLOSED_HINT })
    const before = this.#open.get(engine)
    if (before?.place === place) return await before.store
    const closed = this.close(engine).catch(() => undefined)
    // Note the opening before the first await, so that other callers get the same one.
    const opening = { place, store: closed.then(open).catch((error: unknown) => Promise.reject(this.#toError(place, error))) }
    this.#open.set(engine, opening)
    try {
      return await opening.store
    } catch (error) {
      if (this.#open.get(engine) === opening) this.#open.delete(engine)
      throw error
    }
  }

  /** Closes an engine, if it is open. */
  async close(engine: string): Promise<void> {
    const open = this.#open.get(engine)
    if (open !== undefined) {
      this.#open.delete(engine)
      // The caller of the opening got its failure.
      const closed = open.store.catch(() => undefined).then((store) => store?.close())
      const closing = closed.finally(() => this.#closing.get(engine) === closing && this.#closing.delete(engine))
      this.#closing.set(engine, closing)
    }
    await this.#closing.get(engine)
  }

  /** Closes all engines. None can be opened afterwards. */
  async closeAll(): Promise<void> {
    this.#isClosed = true
    const engines = new Set([...this.#open.keys(), ...this.#closing.keys()])
    const results = await Promise.allSettled([...engines].map((engine) => this.close(engine)))
    const failed = results.find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }
}
