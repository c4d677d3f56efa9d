/** Catalogs for the length of one command. */
import type { Catalog } from '../catalog/catalog.ts'
import { closing } from '../stores/common/clean-up.ts'

/** Calls `use` with the catalog in a directory, and closes it afterwards. */
export async function withCatalog<T>(path: string, options: { readonly create: boolean }, use: (catalog: Catalog) => Promise<T>): Promise<T> {
  const { openLevelCatalog } = await import('../stores/catalog/index.ts')
  return await closing(await openLevelCatalog(path, options), use)
}

/**
 * The same for work that is done whether or not it can be recorded: a catalog that cannot be opened, or not be closed, is told with
 * `warn`, and `use` does without.
 */
export async function withCatalogIfPossible<T>(path: string, warn: (text: string) => Promise<void>, use: (catalog: Catalog | undefined) => Promise<T>): Promise<T> {
  const tell = async (error: unknown): Promise<undefined> => {
    await warn(`This is not recorded: ${error instanceof Error ? error.message : String(error)}`)
    return undefined
  }
  const { openLevelCatalog } = await import('../stores/catalog/index.ts')
  const catalog = await openLevelCatalog(path).catch(tell)
  try {
    return await use(catalog)
  } finally {
    await catalog?.close().catch(tell)
  }
}

/** The same where a path is given; without one, `use` does without. */
export async function withOptionalCatalog<T>(path: string | undefined, use: (catalog: Catalog | undefined) => Promise<T>): Promise<T> {
  return path === undefined ? await use(undefined) : await withCatalog(path, { create: true }, use)
}
