/** The stores that URLs name: one function for each kind, whose driver is loaded when it is asked for. */
import type { MetadataStore } from '../metadata/metadata-store.ts'
import { closing } from '../stores/common/clean-up.ts'
import type { Swappable } from '../swappable.ts'
import { type LevelUrl, type PostgresUrl, type StoreUrl, parseStoreUrl } from './store-url.ts'

export interface OpenStoreOptions {
  /** Create the store where none exists. @default false */
  readonly create?: boolean | undefined
  /** Manage a plain database directory, or schema, from now on. @default false */
  readonly adopt?: boolean | undefined
}

/** What can be restored into, without serving it. */
export type StoreHome = Swappable & { close(): Promise<void> }

interface Opener {
  openStore(options: OpenStoreOptions): Promise<MetadataStore>
  openHome(options: Omit<OpenStoreOptions, 'create'>): Promise<StoreHome>
}

async function openerOf(url: StoreUrl): Promise<Opener> {
  return url.scheme === 'level' ? await levelOpener(url) : await postgresOpener(url)
}

async function levelOpener({ path }: LevelUrl): Promise<Opener> {
  const { openLevelHome, openLevelStore } = await import('../stores/level/index.ts')
  return {
    openStore: ({ create = false, adopt }) => openLevelStore(path, { create, adopt }),
    openHome: (options) => openLevelHome(path, options),
  }
}

async function postgresOpener({ connection, schema }: PostgresUrl): Promise<Opener> {
  const { openPostgresHome, openPostgresStore } = await import('../stores/postgres/index.ts')
  return {
    openStore: ({ create = false, adopt }) => openPostgresStore({ connection, schema, create, adopt }),
    openHome: ({ adopt }) => openPostgresHome({ connection, schema, adopt }),
  }
}

/** Calls `use` with the store a URL names, and closes it afterwards. Rejects with `invalid_argument` for a URL the command line cannot use. */
export async function withStoreOf<T>(url: string, options: OpenStoreOptions, use: (store: MetadataStore) => Promise<T>): Promise<T> {
  return await closing(await (await openerOf(parseStoreUrl(url))).openStore(options), use)
}

/** The same, for restoring into the store or rolling it back: it may be damaged, or not exist yet. */
export async function withHome<T>(url: string, options: Omit<OpenStoreOptions, 'create'>, use: (home: StoreHome) => Promise<T>): Promise<T> {
  return await closing(await (await openerOf(parseStoreUrl(url))).openHome(options), use)
}
