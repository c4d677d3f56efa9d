/** Opens the parts of one piece of work by URL, and closes them at its end. */
import type { Catalog } from '../contracts/catalog.ts'
import type { PayloadGuard } from '../contracts/payload-store.ts'
import type { Destination } from '../contracts/destination.ts'
import type { MetadataStore } from '../contracts/metadata-store.ts'
import { closing } from '../errors/clean-up.ts'
import { messageOf } from '../errors/error-message.ts'
import { CombinedError, isHoldfastError } from '../errors/errors.ts'
import { type Holds, openHolds } from '../gc/holds/holds.ts'
import { openDestination } from '../../destinations/registry.ts'
import { openCatalog, type OpenCatalogOptions, parseCatalogUrl } from './catalogs.ts'
import { catalogPathOf, openHome, openStore, parseStoreUrl } from './stores.ts'
import type { OpenHomeOptions, OpenStoreOptions, PayloadUse, StoreHome } from './stores/address.ts'
import { isSystemError } from '../util/files.ts'

interface Closable {
  close(): Promise<void>
}

export interface HoldsOptions extends OpenCatalogOptions {
  /** URL of the store whose payloads are needed or swept. */
  readonly store: string
  readonly use: PayloadUse
  /** URL or path of the catalog. @default the store's own */
  readonly catalog?: string | undefined
  readonly destinations: readonly Destination[]
  /** Whether a destination may be empty if the catalog never recorded a backup there. @default true */
  readonly mayBeEmpty?: boolean | undefined
}

export interface RecordOptions {
  /** URL of the store that was backed up. */
  readonly store?: string | undefined
  /** URL or path of the catalog. @default the store's own */
  readonly catalog?: string | undefined
}

export interface LeasesOptions {
  /** URL of the store whose payloads are needed. */
  readonly store: string
  /** URL or path of the catalog. @default the store's own */
  readonly catalog?: string | undefined
  /** The ID that a restore will give the store where there is none: then the catalog is the one of that store. */
  readonly storeIdIfNone?: string | undefined
  /** Whether to create a missing catalog; not for work that will be refused. @default true */
  readonly create?: boolean | undefined
  /** Called with the reason why the work is not recorded. */
  readonly warn: (text: string) => Promise<void>
}

/**
 * Calls `run` with an opener of parts, and afterwards closes the parts, the last first. An error while closing is combined with the others,
 * never lost. If `run` fails after the guard of payloads was lost, the error says that.
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

/** Opens stores, destinations and catalogs by URL, and closes them. */
export class Parts {
  readonly #opened: Closable[] = []
  readonly #signal: AbortSignal
  #guard: PayloadGuard | undefined

  constructor(signal: AbortSignal) {
    this.#signal = signal
  }

  /** Aborted when the work is interrupted, or when the guard of its payloads is lost. */
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

  /** Opens the catalog that recorded the backups of a store, or the one that is named; `undefined` where neither is given. */
  async recordOf({ store, catalog }: RecordOptions, options: OpenCatalogOptions = { create: false }): Promise<Catalog | undefined> {
    const url = store === undefined ? catalog : await catalogPathOf(store, catalog)
    // A catalog made in a wrong place would have no record, and get those that the store's own does not.
    return url === undefined ? undefined : await this.catalog(url, options)
  }

  /**
   * Guards the payloads of a store against harmful use by others, until the end. Rejects with `store_not_drained` and
   * `sweep_already_running`. Resolves with whether no other process can have the store open.
   */
  async guardPayloads(storeUrl: string, use: PayloadUse): Promise<{ readonly isAlone: boolean }> {
    const guard = await parseStoreUrl(storeUrl).guardPayloads?.(use)
    if (guard === undefined) return { isAlone: true }
    this.#guard = guard
    this.keep({ close: () => guard.end() })
    return { isAlone: false }
  }

  /** Rejects when the guard of the payloads is lost. */
  async checkGuard(): Promise<void> {
    await this.#guard?.check()
  }

  /** Guards the payloads of a store, and opens its catalog and its holds. */
  async holds({ store, use, catalog: named, create, destinations, mayBeEmpty }: HoldsOptions): Promise<{ readonly catalog: Catalog; readonly holds: Holds }> {
    await this.guardPayloads(store, use)
    const url = await catalogPathOf(store, named)
    const catalog = await this.catalog(url, { create })
    return { catalog, holds: openHolds({ catalog, destinations, mayBeEmpty, directory: parseCatalogUrl(url).holdsDirectory }) }
  }

  /**
   * Guards the payloads of a store, and opens its catalog for work that need not be recorded: if the catalog cannot be opened or closed,
   * `warn` is called, and the work goes on; so it does without a catalog where there is none and `create` is false. Rejects if another
   * process has the catalog open and may sweep the store by it.
   */
  async catalogIfPossible({ store, catalog: named, storeIdIfNone, create = true, warn }: LeasesOptions): Promise<Catalog | undefined> {
    const tell = async (error: unknown): Promise<undefined> => {
      await warn(`This work is not recorded: ${messageOf(error)}`)
      return undefined
    }
    const { isAlone } = await this.guardPayloads(store, 'need')
    const path = async (): Promise<string> => named ?? (await parseStoreUrl(store).catalogPath(storeIdIfNone))
    const catalog = await path().then((found) => openCatalog(found, { create })).catch((error: unknown) => {
      if (!isAlone && isHoldfastError(error) && error.details['isInUse'] === true) throw error
      if (!create && isHoldfastError(error) && isSystemError(error.cause, 'ENOENT')) return undefined
      return tell(error)
    })
    if (catalog !== undefined) this.keep({ close: () => catalog.close().catch(tell) })
    return catalog
  }

  /** Closes another part at the end too. */
  keep<Part extends Closable>(part: Part): Part {
    this.#opened.push(part)
    return part
  }

  /** The reason for failed work: the loss of the guard if that came first, otherwise its own error. */
  lossOf(error: unknown): unknown {
    return !this.#signal.aborted && this.#guard?.signal.aborted === true ? this.#guard.signal.reason : error
  }

  /** Closes everything, the last first. Rejects with all errors, combined. */
  async close(): Promise<void> {
    const errors: unknown[] = []
    for (const part of this.#opened.splice(0).toReversed()) {
      try {
        await part.close()
      } catch (error) {
        errors.push(error)
      }
    }
    const [first, ...others] = errors
    if (others.length > 0) throw new CombinedError(errors.map(messageOf).join('; and '), [first, ...others])
    if (errors.length > 0) throw first
  }
}
