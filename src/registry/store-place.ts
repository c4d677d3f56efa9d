/** Where stores are, to tell a store from its copies. */
import { realpath } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { isSystemError } from '../util/files.ts'
import { parseStoreUrl, postgresPlace } from './store-url.ts'

/**
 * Where the store of a URL is, made or not: an absolute URL, the same whichever way is written and without secrets. Rejects with `invalid_argument`
 * for a URL that the command line cannot use.
 */
export async function placeOf(storeUrl: string): Promise<string> {
  const url = parseStoreUrl(storeUrl)
  if (url.scheme === 'level') return `level:${await realPathOf(url.path)}`
  const { host, port, database, schema } = postgresPlace(url)
  return `postgres://${encodeURIComponent(host)}:${port}/${database}?schema=${encodeURIComponent(schema)}`
}

/** Without links, as far as the path exists. */
async function realPathOf(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    if (!isSystemError(error, 'ENOENT') || dirname(path) === path) throw error
    return join(await realPathOf(dirname(path)), basename(path))
  }
}
