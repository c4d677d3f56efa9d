/** The stores that URLs name: one function for each kind, whose driver is loaded when it is asked for. */
import type { MetadataStore } from '../contracts/metadata-store.ts'
import { closing } from '../errors/clean-up.ts'
import type { PayloadGuard } from '../stores/postgres/index.ts'
import type { Swappable } from '../contracts/swappable.ts'
import { type LevelUrl, type PostgresUrl, type StoreUrl, parseStoreUrl } from './store-url.ts'

export interface OpenStoreOptions {
  /** Create the store where none exists. @default false */
  readonly create?: boolean | undefined
  /** Manage a plain database directory, or schema, from now on. @default false */
  readonly adopt?: boolean | undefined
}

/** What can be restored into, without serving it. */
export type StoreHome = Swappable & { close(): Promise<void> }

/** Payloads of a store are needed by any number of commands at a time, or swept by one. */
export type PayloadUse = 'need' | 'sweep'

/** What a command that needs payloads, or sweeps them, goes by. */
export interface GuardedPayloads {
  /** Ends the command: it was interrupted, or others are not kept off any more. */
  readonly signal: AbortSignal
  /** Rejects when others are not kept off any more. */
  readonly check: () => Promise<void>
  /** Whether no other process can have the store open. */
  readonly isAlone: boolean
}

interface Opener {
  openStore(options: OpenStoreOptions): Promise<MetadataStore>
  openHome(options: Omit<OpenStoreOptions, 'create'>): Promise<StoreHome>
  /** Not needed where one process has the store for itself. */
  guardPayloads?(use: PayloadUse): Promise<PayloadGuard>
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
  const { guardPostgresPayloads, openPostgresHome, openPostgresStore } = await import('../stores/postgres/index.ts')
  return {
    openStore: ({ create = false, adopt }) => openPostgresStore({ connection, schema, create, adopt }),
    openHome: ({ adopt }) => openPostgresHome({ connection, schema, adopt }),
    guardPayloads: (use) => guardPostgresPayloads({ connection, schema, use }),
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

/**
 * Calls `run` while nobody sweeps payloads of the store that are needed. Rejects with `hold_unavailable` and `sweep_already_running` when that
 * cannot be had, and with `store_unavailable` when `run` failed since it was lost.
 */
export async function withPayloads<T>(url: string, { use, signal }: { readonly use: PayloadUse; readonly signal: AbortSignal }, run: (payloads: GuardedPayloads) => Promise<T>): Promise<T> {
  const opener = await openerOf(parseStoreUrl(url))
  const guard = await opener.guardPayloads?.(use)
  if (guard === undefined) return await run({ signal, check: async () => {}, isAlone: true })
  return await closing({ close: () => guard.end() }, async () => {
    try {
      return await run({ signal: AbortSignal.any([signal, guard.signal]), check: () => guard.check(), isAlone: false })
    } catch (error) {
      if (!signal.aborted && guard.signal.aborted) throw guard.signal.reason
      throw error
    }
  })
}
