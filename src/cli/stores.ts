/** Store URLs: one table from scheme to the driver, loaded when it is asked for. */
import { resolve } from 'node:path'
import { InvalidArgumentError } from '../errors.ts'
import type { LevelStore } from '../stores/level/index.ts'

/** A metadata store of this machine that can be restored into. */
export type LocalStore = LevelStore

export interface OpenStoreOptions {
  /** Create the store where none exists. @default false */
  readonly create?: boolean | undefined
}

type StoreOpener = (path: string, options: OpenStoreOptions) => Promise<LocalStore>

const STORES: Readonly<Record<string, StoreOpener>> = {
  level: async (path, options) => (await import('../stores/level/index.ts')).openLevelStore(path, options),
}

/** Opens the store a URL names. Rejects with `invalid_argument` when the URL is none the command line can use. */
export async function openStore(url: string, options: OpenStoreOptions = {}): Promise<LocalStore> {
  const { scheme, path } = parseStoreUrl(url)
  const opener = STORES[scheme]
  if (opener === undefined) throw unknownScheme(url, scheme)
  return await opener(path, options)
}

/** The scheme and the absolute path of a store URL. */
export function parseStoreUrl(url: string): { readonly scheme: string; readonly path: string } {
  const match = /^([a-z][a-z0-9+.-]*):(.*)$/is.exec(url)
  if (match === null) {
    throw new InvalidArgumentError(`Cannot use ${JSON.stringify(url)} as a store URL: it has no scheme`, { hint: `Write level:${url}` })
  }
  const [, scheme = '', path = ''] = match
  if (scheme === 'memory') {
    throw new InvalidArgumentError(`Cannot open ${JSON.stringify(url)}: a memory store lives only within its server's process`, {
      hint: 'Name a store on disk, such as level:PATH; back up a memory store from the server itself, through the library',
    })
  }
  if (!Object.hasOwn(STORES, scheme)) throw unknownScheme(url, scheme)
  if (path === '' || path.includes('\0') || /^\/\/(?!\/)/.test(path)) {
    throw new InvalidArgumentError(`Cannot use ${JSON.stringify(url)} as a store URL: ${path === '' ? 'it has no path' : 'its path is none of this machine'}`, {
      hint: `Write ${scheme}:PATH with a relative or an absolute path`,
    })
  }
  return { scheme, path: resolve(path) }
}

function unknownScheme(url: string, scheme: string): InvalidArgumentError {
  const known = Object.keys(STORES).map((name) => `${name}:PATH`)
  return new InvalidArgumentError(`Cannot use ${JSON.stringify(url)} as a store URL: no store is called ${JSON.stringify(scheme)}`, {
    hint: `Use one of: ${known.join(', ')}`,
  })
}
