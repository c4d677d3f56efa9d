/** The files of one backup in its directory, and their removal. */
import { join } from 'node:path'
import { BACKUP_OBJECTS } from '../../src/contracts/destination.ts'
import { DestinationPathConflictError } from '../../src/errors/errors.ts'
import { isSystemError, removeIfThere } from '../../src/util/files.ts'
import { onPath } from './errors.ts'
import type { FsRoot } from './root.ts'

export const MANIFEST_FILE = 'manifest.json'

/** Every name that a backup's directory may have in it. The manifest comes first: removing the manifest un-lists the backup. */
export const BACKUP_FILES: readonly string[] = [MANIFEST_FILE, ...BACKUP_OBJECTS]

/** A removed file that NFS keeps for a reader; it vanishes by itself. */
const NFS_KEPT = /^\.nfs/

/** How many names of others' files a warning has. */
const MAX_NAMED = 10

/** Un-lists a backup durably, then removes it. `rivals` says whether other processes may be removing it too. */
export async function removePublished(root: FsRoot, directory: string, { rivals }: { readonly rivals: boolean }): Promise<void> {
  const manifest = join(directory, MANIFEST_FILE)
  await onPath('remove', manifest, () => removeIfThere(root.files, manifest))
  // Sync before the objects go: no crash may leave a listed backup without them.
  await root.sync(directory).catch((error: unknown) => {
    // A rival was faster, and synced the removal of the manifest before it removed the directory.
    if (!rivals || !isMissing(error)) throw error
  })
  await removeBackupFiles(root, directory)
}

/**
 * Removes a backup's files and then its directory, if they exist. Resolves with whether the directory is gone: files that are not
 * Holdfast's stay, and the directory with them. A warning names them; files that NFS keeps for a reader go without one.
 */
export async function removeBackupFiles(root: FsRoot, directory: string): Promise<boolean> {
  const { files } = root
  const info = await root.info(directory)
  if (info === undefined) return true
  // Check the type: a link would lead the removal elsewhere.
  if (info.type !== 'directory') throw new DestinationPathConflictError(`Cannot remove "${directory}": it is not a directory`)
  for (const name of BACKUP_FILES) {
    const path = join(directory, name)
    await onPath('remove', path, () => removeIfThere(files, path))
  }
  return await onPath('remove', directory, async () => {
    try {
      await files.removeDirectory(directory)
      return true
    } catch (error) {
      if (isSystemError(error, 'ENOENT')) return true
      if (!isSystemError(error, 'ENOTEMPTY', 'EEXIST')) throw error
      warnOfOthers(root, directory, await files.list(directory))
      return false
    }
  })
}

/** Warns of others' files in a directory that stays because of them. Resolves with whether there are some. */
export function warnOfOthers(root: FsRoot, directory: string, found: readonly string[]): boolean {
  const others = found.filter((name) => !BACKUP_FILES.includes(name) && !NFS_KEPT.test(name))
  if (others.length === 0) return false
  const names = others.slice(0, MAX_NAMED).map((name) => JSON.stringify(name)).join(', ')
  const more = others.length > MAX_NAMED ? ` and ${others.length - MAX_NAMED} more` : ''
  root.warnings.leaves({ code: 'foreign_files_left', message: `"${directory}" stays, because it has files in it that are not Holdfast's: ${names}${more}` })
  return true
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && isSystemError(error.cause, 'ENOENT')
}
