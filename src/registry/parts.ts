/** What one piece of work opens by URL, closed at its end. */
import type { Catalog } from '../contracts/catalog.ts'
import type { Destination } from '../contracts/destination.ts'
import type { MetadataStore } from '../contracts/metadata-store.ts'
import { closing } from '../errors/clean-up.ts'
import { messageOf } from '../errors/error-message.ts'
import { CombinedError, isHoldfastError } from '../errors/errors.ts'
import { type Holds, openHolds } from '../gc/holds/holds.ts'
import type { PayloadGuard } from '../stores/postgres/index.ts'
import { openDestination } from '../../destinations/registry.ts'
import { openCatalog, type OpenCatalogOptions, parseCatalogUrl } from './catalogs.ts'
import { catalogPathOf, openHome, openStore, parseStoreUrl } from './stores.ts'
import type { OpenHomeOptions, OpenStoreOptions, PayloadUse, StoreHome } from './stores/address.ts'

interface Closable {
  close(): Promise<void>
}

export interface HoldsOptions extends OpenCatalogOptions {
  /** URL of the store whose payloads are needed, or swept. */
  readonly store: string
  readonly use: PayloadUse
  /** URL or path of the catalog. @default the store's own */
  readonly catalog?: string | undefined
  readonly destinations: readonly Destination[]
  /** Whether a destination that the catalog never had a backup at may list none. @default true */
  readonly mayBeEmpty?: boolean | undefined
}

export interface LeasesOptions {
  /** URL of the store whose payloads are needed. */
  readonly store: string
  /** URL or path of the catalog. @default the store's own */
  readonly catalog?: string | undefined
  /** Called with why the work is not recorded. */
  readonly warn: (text: string) => Promise<void>
}

/**
 * Calls `run` with an opener of parts, and closes what was opened through it, the last first, whatever happens. An error while closing is
 * never lost: it is combined with the others. Where `run` fails after a guard of payloads was lost, the error says that.
 */
export async function withParts<T>(options: { readonly signal: AbortSignal }, run: (parts: Parts) => Promise<T>): Promise<T> {
  return await closing(new Parts(options.signal), async (parts) => {
    try {
      return await run(parts)
    } catch (error) {
      throw parts.lossOf(error)
    }
  })
}

/** Opens stores, destinations and catalogs by URL, and knows what there is to close. */
export class Parts {
  readonly #opened: Closable[] = []
  readonly #signal: AbortSignal
  #guard: PayloadGuard | undefined

  constructor(signal: AbortSignal) {
    this.#signal = signal
  }

  /** Ends the work: it was interrupted, or others are not kept from its payloads any more. */
  get signal(): AbortSignal {
    return this.#guard === undefined ? this.#signal : AbortSignal.any([this.#signal, this.#guard.signal])
  }

  async destination(url: string): Promise<Destination> {
    return this.keep(await openDestination(url))
  }

  async destinations(urls: readonly string[]): Promise<readonly Destination[]> {
    const destinations: Destination[] = []
    for (const url of urls) destinations.push(await this.destination(url))
    return destinations
  }

  async store(url: string, options: OpenStoreOptions = {}): Promise<MetadataStore> {
    return this.keep(await openStore(url, options))
  }

  async home(url: string, options: OpenHomeOptions = {}): Promise<StoreHome> {
    return this.keep(await openHome(url, options))
  }

  async catalog(url: string, options: OpenCatalogOptions = {}): Promise<Catalog> {
    return this.keep(await openCatalog(url, options))
  }

  /**
   * Keeps others from the payloads of a store in the ways that would do harm, until the end. Rejects with `hold_unavailable` and
   * `sweep_already_running` when that cannot be had. Resolves with whether no other process can have the store open.
   */
  async guardPayloads(storeUrl: string, use: PayloadUse): Promise<{ readonly isAlone: boolean }> {
    const guard = await parseStoreUrl(storeUrl).guardPayloads?.(use)
    if (guard === undefined) return { isAlone: true }
    this.#guard = guard
    this.keep({ close: () => guard.end() })
    return { isAlone: false }
  }

  /** Rejects when others are not kept from the payloads any more. */
  async checkGuard(): Promise<void> {
    await this.#guard?.check()
  }

  /** Guards the payloads of a store, and opens what holds them: its catalog and destinations. */
  async holds({ store, use, catalog: named, create, destinations, mayBeEmpty }: HoldsOptions): Promise<{ readonly catalog: Catalog; readonly holds: Holds }> {
    await this.guardPayloads(store, use)
    const url = catalogPathOf(store, named)
    const catalog = await this.catalog(url, { create })
    return { catalog, holds: openHolds({ catalog, destinations, mayBeEmpty, directory: parseCatalogUrl(url).holdsDirectory }) }
  }

  /**
   * Guards the payloads of a store, and opens its catalog for work that is done whether or not it can be recorded: there is none when it cannot
   * be opened, which `warn` is told; so is a failure to close it. One that another process has open is refused where that process may have the
   * store too, and sweep by its catalog.
   */
  async catalogIfPossible({ store, catalog: named, warn }: LeasesOptions): Promise<Catalog | undefined> {
    const tell = async (error: unknown): Promise<undefined> => {
      await warn(`This is not recorded: ${messageOf(error)}`)
      return undefined
    }
    const { isAlone } = await this.guardPayloads(store, 'need')
    const catalog = await openCatalog(catalogPathOf(store, named)).catch((error: unknown) => {
      if (!isAlone && isHoldfastError(error) && error.details['isInUse'] === true) throw error
      return tell(error)
    })
    if (catalog !== undefined) this.keep({ close: () => catalog.close().catch(tell) })
    return catalog
  }

  /** Closes something else at the end too. */
  keep<Part extends Closable>(part: Part): Part {
    this.#opened.push(part)
    return part
  }

  /** Why work failed: the loss of the guard where that came first, and otherwise what it failed with. */
  lossOf(error: unknown): unknown {
    return !this.#signal.aborted && this.#guard?.signal.aborted === true ? this.#guard.signal.reason : error
  }

  /** Closes everything, the last first. Rejects when some could not be closed, with all errors. */
  async close(): Promise<void> {
    const errors: unknown[] = []
    for (const part of this.#opened.splice(0).toReversed()) await part.close().catch((error: unknown) => errors.push(error))
    const [first, ...others] = errors
    if (others.length > 0) throw new CombinedError(errors.map(messageOf).join('; and '), [first, ...others])
    if (errors.length > 0) throw first
  }
}
