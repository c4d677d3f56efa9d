/** Catalogs for the length of one command. */
import type { Catalog } from '../contracts/catalog.ts'
import type { Destination } from '../contracts/destination.ts'
import { messageOf } from '../errors/error-message.ts'
import { isHoldfastError } from '../errors/errors.ts'
import { type Holds, openHolds } from '../gc/holds/holds.ts'
import { closing } from '../errors/clean-up.ts'
import { type GuardedPayloads, type PayloadUse, withPayloads } from './stores.ts'

/** Calls `use` with the catalog in a directory, and closes it afterwards. */
export async function withCatalog<T>(path: string, options: { readonly create: boolean }, use: (catalog: Catalog) => Promise<T>): Promise<T> {
  const { openLevelCatalog } = await import('../catalog/level/index.ts')
  return await closing(await openLevelCatalog(path, options), use)
}

export interface WithHoldsOptions {
  /** URL of the store whose payloads are needed, or swept. */
  readonly store: string
  readonly use: PayloadUse
  readonly catalogPath: string
  /** Whether to make the catalog where there is none. */
  readonly create: boolean
  readonly destinations: readonly Destination[]
  /** Whether a destination that the catalog never had a backup at may list none. @default true */
  readonly mayBeEmpty?: boolean | undefined
  readonly signal: AbortSignal
}

export interface WithLeasesOptions {
  /** URL of the store whose payloads are needed. */
  readonly store: string
  readonly catalogPath: string
  readonly signal: AbortSignal
  readonly warn: (text: string) => Promise<void>
}

/** Calls `run` with the holds that the catalog of a store and its destinations make. */
export async function withHolds<T>(options: WithHoldsOptions, run: (parts: GuardedPayloads & { readonly catalog: Catalog; readonly holds: Holds }) => Promise<T>): Promise<T> {
  const { store, use, catalogPath, create, destinations, mayBeEmpty, signal } = options
  return await withPayloads(store, { use, signal }, (payloads) =>
    withCatalog(catalogPath, { create }, (catalog) => run({ ...payloads, catalog, holds: openHolds({ catalog, destinations, mayBeEmpty, directory: `${catalogPath}-holds` }) })),
  )
}

/**
 * Calls `run` for work that is done whether or not it can be recorded: a catalog that cannot be opened, or not be closed, is told with `warn`, and there is
 * none then. One that another process has open is refused where that process may have the store too, and sweep by its catalog.
 */
export async function withLeasesIfPossible<T>({ store, catalogPath, signal, warn }: WithLeasesOptions, run: (parts: GuardedPayloads & { readonly catalog: Catalog | undefined }) => Promise<T>): Promise<T> {
  const tell = async (error: unknown): Promise<undefined> => {
    await warn(`This is not recorded: ${messageOf(error)}`)
    return undefined
  }
  const { openLevelCatalog } = await import('../catalog/level/index.ts')
  return await withPayloads(store, { use: 'need', signal }, async (payloads) => {
    const catalog = await openLevelCatalog(catalogPath).catch((error: unknown) => {
      if (!payloads.isAlone && isHoldfastError(error) && error.details['isInUse'] === true) throw error
      return tell(error)
    })
    try {
      return await run({ ...payloads, catalog })
    } finally {
      await catalog?.close().catch(tell)
    }
  })
}

/** Calls `use` with a catalog where a path is given, and else without. */
export async function withOptionalCatalog<T>(path: string | undefined, use: (catalog: Catalog | undefined) => Promise<T>): Promise<T> {
  return path === undefined ? await use(undefined) : await withCatalog(path, { create: true }, use)
}
