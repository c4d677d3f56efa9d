/** Store URLs: one table from scheme to the driver, loaded when it is asked for. */
import { resolve } from 'node:path'
import { InvalidArgumentError } from '../errors.ts'
import type { MetadataStore } from '../metadata/metadata-store.ts'
import type { Swappable } from '../swappable.ts'

export interface OpenStoreOptions {
  /** Create the store where none exists. @default false */
  readonly create?: boolean | undefined
  /** Manage a plain database directory from now on. @default false */
  readonly adopt?: boolean | undefined
}

/** What can be restored into, without serving it. */
export type StoreHome = Swappable & { close(): Promise<void> }

interface StoreDriver {
  openStore(path: string, options: OpenStoreOptions): Promise<MetadataStore>
  openHome(path: string, options: Omit<OpenStoreOptions, 'create'>): Promise<StoreHome>
}

const DRIVERS: Readonly<Record<string, () => Promise<StoreDriver>>> = {
  level: async () => {
    const { openLevelHome, openLevelStore } = await import('../stores/level/index.ts')
    return { openStore: (path, { create = false, adopt }) => openLevelStore(path, { create, adopt }), openHome: openLevelHome }
  },
}

/** Calls `use` with the store a URL names, and closes it afterwards. Rejects with `invalid_argument` for a URL the command line cannot use. */
export async function withStoreOf<T>(url: string, options: OpenStoreOptions, use: (store: MetadataStore) => Promise<T>): Promise<T> {
  const { driver, path } = await findDriver(url)
  const store = await driver.openStore(path, options)
  try {
    return await use(store)
  } finally {
    await store.close()
  }
}

/** The same, for restoring into the store or rolling it back: it may be damaged, or not exist yet. */
export async function withHome<T>(url: string, options: Omit<OpenStoreOptions, 'create'>, use: (home: StoreHome) => Promise<T>): Promise<T> {
  const { driver, path } = await findDriver(url)
  const home = await driver.openHome(path, options)
  try {
    return await use(home)
  } finally {
    await home.close()
  }
}

/** The scheme and the absolute path of a store URL. */
export function parseStoreUrl(url: string): { readonly scheme: string; readonly path: string } {
  const match = /^([a-z][a-z0-9+.-]*):(.*)$/is.exec(url)
  if (match === null) {
    throw new InvalidArgumentError(`Cannot use ${JSON.stringify(url)} as a store URL: it has no scheme`, { hint: `Write level:${url}` })
  }
  const [, written = '', path = ''] = match
  const scheme = written.toLowerCase()
  if (scheme === 'memory') {
    throw new InvalidArgumentError(`Cannot open ${JSON.stringify(url)}: a memory store lives only within its server's process`, {
      hint: 'Name a store on disk, such as level:PATH; back up a memory store from the server itself, through the library',
    })
  }
  if (!Object.hasOwn(DRIVERS, scheme)) {
    const known = Object.keys(DRIVERS).map((name) => `${name}:PATH`)
    throw new InvalidArgumentError(`Cannot use ${JSON.stringify(url)} as a store URL: no kind of store is called ${JSON.stringify(written)}`, {
      hint: `Write ${known.join(' or ')}`,
    })
  }
  if (path === '' || path.includes('\0') || /^\/\/(?!\/)/.test(path)) {
    throw new InvalidArgumentError(`Cannot use ${JSON.stringify(url)} as a store URL: ${path === '' ? 'it has no path' : 'its path is none of this machine'}`, {
      hint: `Write ${scheme}:PATH with a relative or an absolute path`,
    })
  }
  return { scheme, path: resolve(path) }
}

async function findDriver(url: string): Promise<{ readonly driver: StoreDriver; readonly path: string }> {
  const { scheme, path } = parseStoreUrl(url)
  const load = DRIVERS[scheme] as () => Promise<StoreDriver>
  return { driver: await load(), path }
}
