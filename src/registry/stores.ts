/** Metadata stores by URL. A new kind is a file in `stores/` and one line here. */
import type { MetadataStore } from '../contracts/metadata-store.ts'
import { kindOf, schemeOf } from '../util/urls.ts'
import { type OpenHomeOptions, type OpenStoreOptions, refuseStoreUrl, type StoreAddress, type StoreHome, type StoreKind } from './stores/address.ts'
import { levelStores } from './stores/level.ts'
import { postgresStores } from './stores/postgres.ts'

/** Each loads its driver, and what that needs, only when a store is opened. */
const KINDS: Readonly<Record<string, StoreKind>> = {
  level: levelStores,
  postgres: postgresStores,
  postgresql: postgresStores,
}

const FORMS: string = [...new Set(Object.values(KINDS))].map(({ form }) => form).join(' or ')

/** Understands a store URL; nothing is opened. Throws `invalid_argument`, naming the kinds there are. What may be a password is never repeated. */
export function parseStoreUrl(url: string): StoreAddress {
  const scheme = schemeOf(url)
  if (scheme === undefined) throw refuseStoreUrl('it has no scheme', `Write ${/@|password/i.test(url) ? FORMS : `level:${url}`}`)
  const kind = kindOf(KINDS, scheme)
  if (kind !== undefined) return kind.parse(url)
  if (scheme === 'memory') {
    throw refuseStoreUrl("a memory store lives only within its server's process", 'Name a store on disk, such as level:PATH; back up a memory store from the server itself, through the library')
  }
  throw refuseStoreUrl(`no kind of store is called ${JSON.stringify(scheme)}`, `Write ${FORMS}`)
}

/** Opens the store that a URL names, such as `level:/srv/metadata`. Close it. Rejects with `invalid_argument`, and as its driver says. */
export async function openStore(url: string, options: OpenStoreOptions = {}): Promise<MetadataStore> {
  return await parseStoreUrl(url).openStore(options)
}

/** Opens the home of a store, for restoring into it or rolling it back: the store may be damaged, or not exist yet. Close it. */
export async function openHome(url: string, options: OpenHomeOptions = {}): Promise<StoreHome> {
  return await parseStoreUrl(url).openHome(options)
}

/** Where the store of a URL is, made or not: an absolute URL, the same whichever way the store is named, and without secrets. */
export async function placeOf(url: string): Promise<string> {
  return await parseStoreUrl(url).place()
}

/** The catalog of a store, unless another one is named: in the store's own directory, or, where it has none, in the user's. */
export function catalogPathOf(storeUrl: string, catalog?: string): string {
  return catalog ?? parseStoreUrl(storeUrl).catalogPath
}
