/** Finds the catalog of a Postgres store: one for a store, however its server is named. */
import { realpath, readlink, symlink } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import process from 'node:process'
import { closing } from '../../errors/clean-up.ts'
import { CatalogUnavailableError, isHoldfastError } from '../../errors/errors.ts'
import { isSystemError, nodeFiles } from '../../util/files.ts'
import { homeDirectory } from '../../util/urls.ts'
import { openCatalog } from '../catalogs.ts'

/** The server, database and schema of a store, as they were named. */
export type Place = readonly [host: string, port: string, database: string, schema: string]

/**
 * Finds the path of a store's catalog, which may not exist yet. It is named by the store's ID, for there are many ways to name a server.
 * Releases up to 0.1.0 named it after the store's place: then the ID is a link to that one, which other processes may have open.
 *
 * Rejects with `catalog_unavailable` where there is no store, where several catalogs may be of it, for a choice would lose the records of
 * the others, and where the link leads nowhere.
 */
export async function findPostgresCatalog(storeId: string | undefined, place: Place): Promise<string> {
  const directory = join(process.env['XDG_STATE_HOME'] || join(homeDirectory(), '.local', 'state'), 'holdfast', 'catalogs')
  const words = place.map(encodeURIComponent)
  if (storeId === undefined) {
    throw new CatalogUnavailableError(`Cannot find the catalog of the store in schema ${JSON.stringify(place[3])}: there is no store`, {
      hint: `Name the catalog with --catalog PATH (catalog: PATH); those of Postgres stores are in ${directory}`,
      retryable: false,
    })
  }
  const path = join(directory, `id+${encodeURIComponent(storeId)}`)
  const known = (await nodeFiles.info(path)) === undefined ? undefined : await followLink(path, storeId)
  // Without a catalog of the ID, the store may have been named in any way; the server is the part with several names.
  const isNamed = (name: string): boolean =>
    name === words.join('+') || (known === undefined && name.split('+').slice(2).join('+') === words.slice(2).join('+'))
  const others: string[] = []
  for (const name of (await namesIn(directory)).filter(isNamed)) {
    const other = await followLink(join(directory, name), storeId)
    if (other !== known && (await mayBeOf(storeId, other))) others.push(name)
  }
  const [first] = others
  if (first === undefined) return path
  if (known === undefined && others.length === 1) {
    try {
      await symlink(first, path)
      return path
    } catch (error) {
      if (!isSystemError(error, 'EEXIST')) throw error
      return await findPostgresCatalog(storeId, place)
    }
  }
  const paths = [...(known === undefined ? [] : [known]), ...others.map((name) => join(directory, name))]
  const named = paths.map((each) => JSON.stringify(each)).join(' or ')
  throw new CatalogUnavailableError(`Cannot tell which catalog is of store ${JSON.stringify(storeId)}: ${named}`, {
    hint:
      'Name one with --catalog PATH (catalog: PATH); or record the backups of all destinations in the first one with ' +
      '"holdfast catalog rebuild --catalog PATH --from URL --from URL ...", then remove the others',
    retryable: false,
    details: { storeId, paths },
  })
}

async function followLink(path: string, storeId: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (cause) {
    if (!isSystemError(cause, 'ENOENT')) throw cause
    const target = resolve(path, '..', await readlink(path))
    throw new CatalogUnavailableError(`Cannot open the catalog of store ${JSON.stringify(storeId)}: "${path}" is a link to "${target}", which is missing`, {
      cause,
      hint: 'Put the directory back there; if it is lost, remove the link, then rebuild the catalog with "holdfast catalog rebuild" from all destinations',
      retryable: false,
    })
  }
}

async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return await nodeFiles.list(directory)
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return []
    throw error
  }
}

/** Whether a catalog may have records of a store: unless it has backups, and none of this store. Rejects while another process uses it. */
async function mayBeOf(storeId: string, path: string): Promise<boolean> {
  try {
    return await closing(await openCatalog(path, { create: false }), async (catalog) => {
      let isOfAnother = false
      for await (const { manifest } of catalog.backups()) {
        if (manifest === undefined || manifest.storeId === storeId) return true
        isOfAnother = true
      }
      return !isOfAnother
    })
  } catch (error) {
    if (isHoldfastError(error) && error.code === 'catalog_unavailable' && error.details['isInUse'] !== true) return true
    throw error
  }
}
