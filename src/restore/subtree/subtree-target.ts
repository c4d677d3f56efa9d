/** The place in a live store where a file or directory from a backup goes. */
import { isHoldfastError, MetadataError, RestoreInProgressError } from '../../errors/errors.ts'
import type { Inode, MetadataStore, Place } from '../../contracts/metadata-store.ts'
import { findPath, showPath, type TreePath } from '../../metadata/tree-path.ts'

export interface TargetOptions {
  readonly toPath: TreePath
  readonly overwrite: boolean
}

const WHERE = 'in the store'
const ELSEWHERE = 'Name a place in a directory that is there (--to-path), or restore the directory that is missing'
const NO_SHARE =
  'Bring it back as a directory of a share that is there (--to-path SHARE/NAME), or make the share first: its server, or "holdfast import" of an empty directory with --share; then bring back what was in it. Without --path the whole store comes back'
/** How often what is there may come and go. */
const MOST_TRIES = 100

/** That the directory is there, and the name in it free or to be replaced. `entry_exists`, `entry_not_found`, `not_a_directory`. */
export async function checkTarget(store: MetadataStore, { toPath, overwrite }: TargetOptions): Promise<Place> {
  const place = await placeOf(store, toPath)
  if (!overwrite && (await store.lookup(place)) !== undefined) throw exists(toPath)
  return place
}

/** Moves what was built to its place. With `overwrite` what is there comes to where it was built; resolves with whether there was something. */
export async function putInPlace(store: MetadataStore, from: Place, { toPath, overwrite }: TargetOptions): Promise<boolean> {
  const to = await placeOf(store, toPath)
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    if (overwrite && (await did(store.rename(from, to, { existing: 'exchange' }), 'entry_not_found'))) return true
    if (await did(store.rename(from, to, { existing: 'refuse' }), 'entry_exists')) return false
    if (!overwrite) throw exists(toPath)
  }
  throw new RestoreInProgressError(`Cannot restore to ${JSON.stringify(showPath(toPath))}: others keep making and removing what is there`)
}

async function placeOf(store: MetadataStore, toPath: TreePath): Promise<Place> {
  const [share, ...names] = toPath
  const name = names.at(-1) ?? ''
  const above: TreePath = [share, ...names.slice(0, -1)]
  const parent = await directoryAt(store, above)
  if (parent.type === 'directory') return { parent: parent.inode, name }
  throw new MetadataError('not_a_directory', `Cannot restore to ${JSON.stringify(showPath(toPath))}: ${JSON.stringify(showPath(above))} is a ${parent.type}`, { hint: ELSEWHERE })
}

async function directoryAt(store: MetadataStore, path: TreePath): Promise<Inode> {
  try {
    return await findPath(store, path, WHERE)
  } catch (error) {
    if (!(error instanceof MetadataError)) throw error
    throw new MetadataError(error.code, error.message, { cause: error, hint: (await store.share(path[0])) === undefined ? NO_SHARE : ELSEWHERE })
  }
}

/** Whether it was done, and not refused by that code. */
async function did(renaming: Promise<void>, code: 'entry_exists' | 'entry_not_found'): Promise<boolean> {
  try {
    await renaming
    return true
  } catch (error) {
    if (isHoldfastError(error) && error.code === code) return false
    throw error
  }
}

function exists(toPath: TreePath): MetadataError {
  return new MetadataError('entry_exists', `Cannot restore to ${JSON.stringify(showPath(toPath))}: something of that name is in the store`, {
    hint: 'Name another place (--to-path), or have it replaced (--overwrite)',
  })
}
