/** Opens a catalog in a directory of its own. */
import { readdir, realpath } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { ClassicLevel } from 'classic-level'
import type { Catalog } from '../../contracts/catalog.ts'
import { BOOLEAN, STRING, checkArgument, checkOptions, optional } from '../../util/check-options.ts'
import { CATALOG_OPTIONS, type LevelCatalogOptions, levelCatalog } from './level-catalog.ts'
import { messageOf } from '../../errors/error-message.ts'
import { CatalogUnavailableError } from '../../errors/errors.ts'
import { systemErrorKind } from '../../errors/system-codes.ts'
import { isSystemError, nodeFiles } from '../../util/files.ts'
import { makeDirectories } from '../../util/make-directories.ts'
import { LEVELDB_FILE, OPEN_HERE_HINT, unfitHint } from '../../util/level-errors.ts'

export interface OpenLevelCatalogOptions extends LevelCatalogOptions {
  /** Whether to create a missing catalog. @default true */
  readonly create?: boolean | undefined
}

/**
 * The real paths of catalogs that this process has open. LevelDB must not open one twice: closing the refused second handle would release
 * the process's kernel lock of the first.
 */
const openPaths = new Set<string>()
/** The hint for a missing catalog: a new, empty one would not notice backups that a destination has lost. */
const LOST = 'Check the path; the first backup creates a catalog, and "holdfast catalog rebuild" rebuilds a lost one from all destinations'
const NOT_EMPTY = 'Name a directory that is missing or empty, or that of a catalog'

/**
 * Opens the catalog in a directory, alone, and ends the jobs of processes that died as `interrupted`.
 *
 * Rejects with `catalog_unavailable` when another process has it open, when it is missing and `create` is false, when the directory
 * holds something else, or when it is damaged.
 */
export async function openLevelCatalog(path: string, given: OpenLevelCatalogOptions = {}): Promise<Catalog> {
  checkArgument('openLevelCatalog', path, { name: 'path', kind: STRING })
  checkOptions('openLevelCatalog', given, { ...CATALOG_OPTIONS, create: optional(BOOLEAN) })
  const { create = true, ...options } = given
  const directory = await findDirectory(resolve(path), create)
  if (openPaths.has(directory)) {
    throw new CatalogUnavailableError(`Cannot open the catalog at "${directory}": this process has it open already`, {
      hint: OPEN_HERE_HINT,
    })
  }
  openPaths.add(directory)
  const db = new ClassicLevel(directory, { createIfMissing: create })
  // Also emitted when opening fails half-way.
  db.once('closed', () => openPaths.delete(directory))
  try {
    return await levelCatalog(db, options)
  } catch (error) {
    openPaths.delete(directory)
    if (!(error instanceof CatalogUnavailableError)) throw error
    throw new CatalogUnavailableError(`${error.message}, at "${directory}"`, {
      cause: error,
      hint: error.hint,
      retryable: error.retryable,
      details: error.details,
    })
  }
}

async function findDirectory(path: string, create: boolean): Promise<string> {
  try {
    if (create) for (const made of (await makeDirectories(path)).toReversed()) await nodeFiles.syncDirectory(dirname(made))
    const names = await readdir(path)
    if (create && !names.includes('CURRENT') && names.some((name) => !/^(?:\.|lost\+found$)/.test(name) && !LEVELDB_FILE.test(name))) {
      throw new CatalogUnavailableError(`Cannot open the catalog at "${path}": the directory holds something else`, { hint: NOT_EMPTY, retryable: false })
    }
    return await realpath(path)
  } catch (cause) {
    if (cause instanceof CatalogUnavailableError) throw cause
    if (!create && isSystemError(cause, 'ENOENT')) {
      throw new CatalogUnavailableError(`Cannot open the catalog at "${path}": there is none`, { cause, hint: LOST, retryable: false })
    }
    const unfit = unfitHint(cause)
    const why = unfit === undefined ? { hint: systemErrorKind(cause)?.hint } : { hint: unfit, retryable: false }
    throw new CatalogUnavailableError(`Cannot open the catalog at "${path}": ${messageOf(cause)}`, { cause, ...why })
  }
}
