/** The engines of a home that are open, each once, however many ask for it at the same time. */
import { messageOf } from '../../../errors/error-message.ts'
import { StoreUnavailableError, isHoldfastError } from '../../../errors/errors.ts'
import type { MetadataStore } from '../../../contracts/metadata-store.ts'

interface OpenStore {
  /** Where the engine was when it was opened; a swap moves it. */
  readonly schema: string
  readonly store: Promise<MetadataStore>
}

export class OpenStores {
  readonly #home: string
  readonly #open = new Map<string, OpenStore>()
  #isClosed = false

  constructor(home: string) {
    this.#home = home
  }

  /** The open engine; opened where that has not been done, or where it is in another schema by now. */
  async opened(engine: string, { schema, open }: { readonly schema: string; readonly open: () => Promise<MetadataStore> }): Promise<MetadataStore> {
    if (this.#isClosed) throw new StoreUnavailableError(`Cannot use the store in schema "${this.#home}": it was closed`)
    const before = this.#open.get(engine)
    if (before?.schema === schema) return await before.store
    // Noted before anything is waited for, so that who asks meanwhile gets the same.
    const opening = { schema, store: closed(before).then(open) }
    this.#open.set(engine, opening)
    try {
      return await opening.store
    } catch (error) {
      if (this.#open.get(engine) === opening) this.#open.delete(engine)
      if (isHoldfastError(error)) throw error
      throw new StoreUnavailableError(`Cannot open engine "${engine}" in schema "${schema}": ${messageOf(error)}`, { cause: error })
    }
  }

  /** Closes an engine; does nothing when it is not open. */
  async close(engine: string): Promise<void> {
    const open = this.#open.get(engine)
    this.#open.delete(engine)
    await closed(open)
  }

  /** Closes all; none can be opened any more. */
  async closeAll(): Promise<void> {
    this.#isClosed = true
    const results = await Promise.allSettled([...this.#open.keys()].map((engine) => this.close(engine)))
    const failed = results.find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }
}

async function closed(open: OpenStore | undefined): Promise<void> {
  // One that did not open was told to whoever asked for it.
  const store = await open?.store.catch(() => undefined)
  await store?.close()
}
