/** Paths in a metadata store: `share/directory/name`. */
import { InvalidArgumentError, MetadataError } from '../errors/errors.ts'
import type { Inode, MetadataReader } from '../contracts/metadata-store.ts'
import { checkName } from './validate.ts'

/** The name of a share, then the names below its root. */
export type TreePath = readonly [share: string, ...names: string[]]

/** Parses a path. Ignores extra slashes. Throws `invalid_argument` for a path without names, or with a malformed name. */
export function parsePath(text: string): TreePath {
  const [share, ...names] = text.split('/').filter((name) => name !== '')
  if (share === undefined) {
    throw new InvalidArgumentError(`Cannot use ${JSON.stringify(text)} as a path: it does not name a share`, {
      hint: 'Write SHARE/DIRECTORY/NAME',
    })
  }
  checkName(share, 'share name')
  for (const name of names) checkName(name)
  return [share, ...names]
}

/** A path as text: its names joined by slashes. */
export function showPath(path: readonly string[]): string {
  return path.join('/')
}

/**
 * Finds the inode at a path. Does not follow symbolic links. `where` ends the messages: "in the backup".
 * Rejects with `entry_not_found` at the first missing name, and with `not_a_directory` when a name before the last is not a directory.
 */
export async function findPath(reader: MetadataReader, [shareName, ...names]: TreePath, where: string): Promise<Inode> {
  const share = await reader.share(shareName)
  if (share === undefined) throw new MetadataError('entry_not_found', `Cannot find the share ${JSON.stringify(shareName)} ${where}`)
  let found = await reader.inode(share.root)
  if (found === undefined) throw new MetadataError('entry_not_found', `Cannot find inode ${share.root} ${where}`)
  for (const [at, name] of names.entries()) {
    const above = [shareName, ...names.slice(0, at)]
    if (found.type !== 'directory') {
      throw new MetadataError('not_a_directory', `Cannot look into ${JSON.stringify(showPath(above))} ${where}: it is a ${found.type}`)
    }
    const next = await reader.lookup({ parent: found.inode, name })
    if (next === undefined) throw new MetadataError('entry_not_found', `Cannot find ${JSON.stringify(showPath([...above, name]))} ${where}`)
    found = next
  }
  return found
}
