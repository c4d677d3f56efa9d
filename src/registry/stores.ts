/** Metadata stores by URL. A new kind is a file in `stores/` and one line here; `content-checks.ts` and `trials.ts` verify its backups. */
import type { MetadataStore } from '../contracts/metadata-store.ts'
import { STRING, checkArgument, checkOptions } from '../util/check-options.ts'
import { kindOf, schemeOf } from '../util/urls.ts'
import { HOME_OPTIONS, type OpenHomeOptions, type OpenStoreOptions, refuseStoreUrl, STORE_OPTIONS, type StoreAddress, type StoreHome, type StoreKind } from './stores/address.ts'
import { levelStores } from './stores/level.ts'
import { postgresStores } from './stores/postgres.ts'

/** The kinds of stores by scheme. Each loads its driver only when a store is opened. */
const KINDS: Readonly<Record<string, StoreKind>> = {
  level: levelStores,
  postgres: postgresStores,
  postgresql: postgresStores,
}

const FORMS: string = [...new Set(Object.values(KINDS))].map(({ form }) => form).join(' or ')

/** Parses a store URL; opens nothing. Throws `invalid_argument`, which lists the known kinds and never repeats a possible password. */
export function parseStoreUrl(url: string): StoreAddress {
  const scheme = schemeOf(url)
  if (scheme === undefined) throw refuseStoreUrl('it has no scheme', `Write ${/@|password/i.test(url) ? FORMS : `level:${url}`}`)
  const kind = kindOf(KINDS, scheme)
  if (kind !== undefined) return kind.parse(url)
  if (scheme === 'memory') {
    throw refuseStoreUrl(
      "a memory store exists only in its server's process",
      'Name a store on disk, such as level:PATH; a server backs up its memory store through the library',
    )
  }
  throw refuseStoreUrl(`${JSON.stringify(scheme)} is not a kind of store`, `Write ${FORMS}`)
}

/**
 * Opens the store at a URL, such as `level:/srv/metadata`. The caller closes it. Rejects with `invalid_argument`, and as its driver says.
 */
export async function openStore(url: string, options: OpenStoreOptions = {}): Promise<MetadataStore> {
  checkArgument('openStore', url, { name: 'url', kind: STRING })
  checkOptions('openStore', options, STORE_OPTIONS)
  return await parseStoreUrl(url).openStore(options)
}

/** Opens the home of a store, to restore into it or roll it back: the store may be damaged or missing. The caller closes it. */
export async function openHome(url: string, options: OpenHomeOptions = {}): Promise<StoreHome> {
  checkArgument('openHome', url, { name: 'url', kind: STRING })
  checkOptions('openHome', options, HOME_OPTIONS)
  return await parseStoreUrl(url).openHome(options)
}

/** The place of a URL's store, existing or not: an absolute URL without secrets, the same for every way to name the store. */
export async function placeOf(url: string): Promise<string> {
  return await parseStoreUrl(url).place()
}

/**
 * The path of a store's catalog: the named one, or else in the store's directory, or else in the user's state directory. Asks the server of
 * a Postgres store for the store's ID; rejects with `store_unavailable` when it does not answer, and with `catalog_unavailable` when the
 * server has no such store, or the catalog cannot be found.
 */
export async function catalogPathOf(storeUrl: string, catalog?: string): Promise<string> {
  return catalog ?? (await parseStoreUrl(storeUrl).catalogPath())
}
