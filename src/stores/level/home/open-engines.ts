/** The engines of a home that are open, each once, however many ask for it at the same time. */
import { StoreUnavailableError } from '../../../errors/errors.ts'
import type { MetadataStore } from '../../../contracts/metadata-store.ts'
import { openFailure } from '../engine/open-failure.ts'

export class OpenEngines {
  readonly #home: string
  readonly #directoryOf: (engine: string) => string
  readonly #open = new Map<string, Promise<MetadataStore>>()
  readonly #closing = new Map<string, Promise<void>>()
  #isClosed = false

  constructor(home: string, directoryOf: (engine: string) => string) {
    this.#home = home
    this.#directoryOf = directoryOf
  }

  has(engine: string): boolean {
    return this.#open.has(engine)
  }

  /** The open engine; `open` opens it where that has not been done. */
  async opened(engine: string, open: () => Promise<MetadataStore>): Promise<MetadataStore> {
    await this.#closing.get(engine)?.catch(() => undefined)
    if (this.#isClosed) throw new StoreUnavailableError(`Cannot use the store at "${this.#home}": it was closed`)
    let opening = this.#open.get(engine)
    if (opening === undefined) {
      opening = open()
      this.#open.set(engine, opening)
    }
    try {
      return await opening
    } catch (error) {
      this.#open.delete(engine)
      throw openFailure(this.#directoryOf(engine), error)
    }
  }

  /** Closes an engine; does nothing when it is not open. */
  async close(engine: string): Promise<void> {
    const opening = this.#open.get(engine)
    if (opening !== undefined) {
      this.#open.delete(engine)
      const closing = opening.then((store) => store.close()).finally(() => this.#closing.delete(engine))
      this.#closing.set(engine, closing)
    }
    await this.#closing.get(engine)
  }

  /** Closes all; none can be opened any more. */
  async closeAll(): Promise<void> {
    this.#isClosed = true
    const results = await Promise.allSettled([...this.#open.keys()].map((engine) => this.close(engine)))
    const failed = results.find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }
}
