/** Catalogs for the length of one command. */
import type { Catalog } from '../catalog/catalog.ts'

/** Calls `use` with the catalog in a directory, and closes it afterwards. */
export async function withCatalog<T>(path: string, options: { readonly create: boolean }, use: (catalog: Catalog) => Promise<T>): Promise<T> {
  const { openLevelCatalog } = await import('../stores/catalog/index.ts')
  const catalog = await openLevelCatalog(path, options)
  try {
    return await use(catalog)
  } finally {
    await catalog.close()
  }
}

/** The same where a path is given; without one, `use` does without. */
export async function withOptionalCatalog<T>(path: string | undefined, use: (catalog: Catalog | undefined) => Promise<T>): Promise<T> {
  return path === undefined ? await use(undefined) : await withCatalog(path, { create: true }, use)
}
