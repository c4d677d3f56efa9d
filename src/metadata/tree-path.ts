/** Paths in a metadata store, as they are written and read: `share/directory/name`. */
import { InvalidArgumentError, MetadataError } from '../errors/errors.ts'
import type { Inode, InodeNumber, MetadataReader } from '../contracts/metadata-store.ts'
import { checkName } from './validate.ts'

/** A share's name, and the names on the way down from its root. */
export type TreePath = readonly [share: string, ...names: string[]]

/** The names of a path; slashes at its ends, and several in a row, count as one. `invalid_argument` for none, and for a name that no entry can have. */
export function parsePath(text: string): TreePath {
  const [share, ...names] = text.split('/').filter((name) => name !== '')
  if (share === undefined) throw new InvalidArgumentError(`Cannot use ${JSON.stringify(text)} as a path: it names no share`, { hint: 'Write SHARE/DIRECTORY/NAME' })
  checkName(share, 'share name')
  for (const name of names) checkName(name)
  return [share, ...names]
}

/** A path as text: its names joined by slashes. */
export function showPath(path: readonly string[]): string {
  return path.join('/')
}

/**
 * What is at a path. Symbolic links are not followed. `entry_not_found` for the first name that is not there, `not_a_directory` for one on the way that is
 * none; `where` ends their messages: "in the backup".
 */
export async function findPath(reader: MetadataReader, [shareName, ...names]: TreePath, where: string): Promise<Inode> {
  const share = await reader.share(shareName)
  if (share === undefined) throw new MetadataError('entry_not_found', `Cannot find the share ${JSON.stringify(shareName)} ${where}`)
  let found = await requireInode(reader, share.root, where)
  for (const [at, name] of names.entries()) {
    const above = [shareName, ...names.slice(0, at)]
    if (found.type !== 'directory') throw new MetadataError('not_a_directory', `Cannot look into ${JSON.stringify(showPath(above))} ${where}: it is a ${found.type}`)
    const next = await reader.lookup({ parent: found.inode, name })
    if (next === undefined) throw new MetadataError('entry_not_found', `Cannot find ${JSON.stringify(showPath([...above, name]))} ${where}`)
    found = next
  }
  return found
}

async function requireInode(reader: MetadataReader, inode: InodeNumber, where: string): Promise<Inode> {
  const found = await reader.inode(inode)
  if (found === undefined) throw new MetadataError('entry_not_found', `Cannot find inode ${inode} ${where}`)
  return found
}
