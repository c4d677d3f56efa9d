/** A catalog in a directory of its own. */
import { mkdir, realpath } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { ClassicLevel } from 'classic-level'
import type { Catalog } from '../../contracts/catalog.ts'
import { type LevelCatalogOptions, levelCatalog } from './level-catalog.ts'
import { messageOf } from '../../errors/error-message.ts'
import { CatalogUnavailableError } from '../../errors/errors.ts'
import { isSystemError, nodeFiles } from '../../util/files.ts'

export interface OpenLevelCatalogOptions extends LevelCatalogOptions {
  /** Whether to make a catalog where there is none. @default true */
  readonly create?: boolean | undefined
}

/**
 * Catalogs that this process has open, by real path. LevelDB must not be asked for one twice: a process gives up a lock of the
 * kernel by closing any handle of the file, and that is what refusing the second would do to the first.
 */
const held = new Set<string>()
/** One that begins empty knows of no backup, and so not of those that a destination should list and does not. */
const LOST = 'Check the path; the first backup makes it, and one that was lost is made anew from all destinations: holdfast catalog rebuild'

/**
 * Opens the catalog in a directory, alone, and ends the jobs of processes that died as `interrupted`.
 *
 * Rejects with `catalog_unavailable` when another process has it open, when it is missing and not to be made, or when it is damaged.
 */
export async function openLevelCatalog(path: string, { create = true, ...options }: OpenLevelCatalogOptions = {}): Promise<Catalog> {
  const directory = await findDirectory(resolve(path), create)
  if (held.has(directory)) throw new CatalogUnavailableError(`Cannot open the catalog at "${directory}": this process has it open already`)
  held.add(directory)
  const db = new ClassicLevel(directory, { createIfMissing: create })
  // Closed by whoever closes it, also when opening fails half-way.
  db.once('closed', () => held.delete(directory))
  try {
    return await levelCatalog(db, options)
  } catch (error) {
    held.delete(directory)
    if (!(error instanceof CatalogUnavailableError)) throw error
    throw new CatalogUnavailableError(`${error.message}, at "${directory}"`, { cause: error, hint: error.hint, retryable: error.retryable, details: error.details })
  }
}

async function findDirectory(path: string, create: boolean): Promise<string> {
  try {
    const firstMade = create ? await mkdir(path, { recursive: true, mode: 0o700 }) : undefined
    const shortest = firstMade?.length ?? Number.POSITIVE_INFINITY
    for (let made = path; made.length >= shortest; made = dirname(made)) await nodeFiles.syncDirectory(dirname(made))
    return await realpath(path)
  } catch (cause) {
    if (!create && isSystemError(cause, 'ENOENT')) {
      throw new CatalogUnavailableError(`Cannot open the catalog at "${path}": there is none`, { cause, hint: LOST, retryable: false })
    }
    throw new CatalogUnavailableError(`Cannot open the catalog at "${path}": ${messageOf(cause)}`, { cause })
  }
}
