/** The engines of a home that are open, each once, however many callers ask for it at the same time. */
import { StoreUnavailableError } from '../errors/errors.ts'
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

  /** `home` completes "the store": `at "/path"`. `toError` makes of what an opening failed with what its callers get. */
  constructor(home: string, toError: (place: string, error: unknown) => Error) {
    this.#home = home
    this.#toError = toError
  }

  has(engine: string): boolean {
    return this.#open.has(engine)
  }

  /** The open engine; `open` opens it where that has not been done. One that is open at another place, from which a swap has moved it, is closed first. */
  async opened(engine: string, { place, open }: { readonly place: string; readonly open: () => Promise<MetadataStore> }): Promise<MetadataStore> {
    if (this.#isClosed) throw new StoreUnavailableError(`Cannot use the store ${this.#home}: it was closed`)
    const before = this.#open.get(engine)
    if (before?.place === place) return await before.store
    const closed = this.close(engine).catch(() => undefined)
    // Noted before anything is waited for, so that a caller who asks meanwhile gets the same.
    const opening = { place, store: closed.then(open).catch((error: unknown) => Promise.reject(this.#toError(place, error))) }
    this.#open.set(engine, opening)
    try {
      return await opening.store
    } catch (error) {
      if (this.#open.get(engine) === opening) this.#open.delete(engine)
      throw error
    }
  }

  /** Closes an engine; does nothing when it is not open. */
  async close(engine: string): Promise<void> {
    const open = this.#open.get(engine)
    if (open !== undefined) {
      this.#open.delete(engine)
      const closing = closeStore(open).finally(() => this.#closing.get(engine) === closing && this.#closing.delete(engine))
      this.#closing.set(engine, closing)
    }
    await this.#closing.get(engine)
  }

  /** Closes all; none can be opened any more. */
  async closeAll(): Promise<void> {
    this.#isClosed = true
    const engines = new Set([...this.#open.keys(), ...this.#closing.keys()])
    const results = await Promise.allSettled([...engines].map((engine) => this.close(engine)))
    const failed = results.find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }
}

async function closeStore(open: OpenEngine): Promise<void> {
  // A failure to open was told to the caller that asked for it.
  const store = await open.store.catch(() => undefined)
  await store?.close()
}
