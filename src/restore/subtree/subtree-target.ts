/** Puts a restored file or directory in its place in a live store. */
import { isHoldfastError, MetadataError, RestoreInProgressError } from '../../errors/errors.ts'
import type { Inode, MetadataStore, Place } from '../../contracts/metadata-store.ts'
import { findPath, showPath, type TreePath } from '../../metadata/tree-path.ts'

export interface TargetOptions {
  readonly toPath: TreePath
  readonly overwrite: boolean
}

const WHERE = 'in the store'
const ELSEWHERE = 'Name a place in an existing directory with --to-path (toPath), or restore the missing directory'
const NO_SHARE =
  'Restore it into an existing share with --to-path SHARE/NAME (toPath), or create the share first, with its server or ' +
  '"holdfast import --share SHARE" of an empty directory; or restore the whole store, without --path (restoreBackup)'
/** The most attempts while others create and remove the entry. */
const MOST_TRIES = 100

/**
 * Checks that the directory exists, and that the name in it is free or to be replaced. `entry_exists`, `entry_not_found`,
 * `not_a_directory`.
 */
export async function checkTarget(store: MetadataStore, { toPath, overwrite }: TargetOptions): Promise<Place> {
  const place = await placeOf(store, toPath)
  if (!overwrite && (await store.lookup(place)) !== undefined) throw exists(toPath)
  return place
}

/** Moves the built entry to its place; with `overwrite`, exchanges it with an existing one. Resolves with whether there was one. */
export async function putInPlace(store: MetadataStore, from: Place, { toPath, overwrite }: TargetOptions): Promise<boolean> {
  const to = await placeOf(store, toPath)
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    if (overwrite && (await succeeds(store.rename(from, to, { existing: 'exchange' }), 'entry_not_found'))) return true
    if (await succeeds(store.rename(from, to, { existing: 'refuse' }), 'entry_exists')) return false
    if (!overwrite) throw exists(toPath)
  }
  throw new RestoreInProgressError(`Cannot restore to ${JSON.stringify(showPath(toPath))}: others keep creating and removing this entry`)
}

async function placeOf(store: MetadataStore, toPath: TreePath): Promise<Place> {
  const [share, ...names] = toPath
  const name = names.at(-1) ?? ''
  const above: TreePath = [share, ...names.slice(0, -1)]
  const parent = await directoryAt(store, above)
  if (parent.type === 'directory') return { parent: parent.inode, name }
  throw new MetadataError(
    'not_a_directory',
    `Cannot restore to ${JSON.stringify(showPath(toPath))}: ${JSON.stringify(showPath(above))} is a ${parent.type}`,
    { hint: ELSEWHERE },
  )
}

async function directoryAt(store: MetadataStore, path: TreePath): Promise<Inode> {
  try {
    return await findPath(store, path, WHERE)
  } catch (error) {
    if (!(error instanceof MetadataError)) throw error
    throw new MetadataError(error.code, error.message, { cause: error, hint: (await store.share(path[0])) === undefined ? NO_SHARE : ELSEWHERE })
  }
}

/** Whether a rename succeeded; false if it was refused with a code. */
async function succeeds(renaming: Promise<void>, code: 'entry_exists' | 'entry_not_found'): Promise<boolean> {
  try {
    await renaming
    return true
  } catch (error) {
    if (isHoldfastError(error) && error.code === code) return false
    throw error
  }
}

function exists(toPath: TreePath): MetadataError {
  return new MetadataError('entry_exists', `Cannot restore to ${JSON.stringify(showPath(toPath))}: the store has an entry of that name`, {
    hint: 'Name another place with --to-path (toPath), or replace the entry with --overwrite (overwrite: true)',
  })
}
