/** The root directory of a destination. */
import { dirname, join } from 'node:path'
import { newUlid } from '../../src/util/ulid.ts'
import { DestinationNotFoundError, DestinationPathConflictError } from '../../src/errors/errors.ts'
import { type FileInfo, type Files, isSystemError, syncIfPossible } from '../../src/util/files.ts'
import { NotedWarnings } from '../../src/util/noted-warnings.ts'
import { onPath, pathError } from './errors.ts'

/** Follows the ID in the name of an upload's directory. */
export const TEMPORARY_SUFFIX = '.tmp'
const OTHERS_READ_OR_WRITE = 0o077

export class FsRoot {
  readonly path: string
  readonly files: Files
  readonly warnings: NotedWarnings = new NotedWarnings()

  constructor(path: string, files: Files) {
    this.path = path
    this.files = files
  }

  async info(path: string): Promise<FileInfo | undefined> {
    return await onPath('look at', path, () => this.files.info(path))
  }

  /** The names at the root, each once: a network file system may give one twice while the directory changes. */
  async list(): Promise<readonly string[]> {
    await this.check()
    return [...new Set(await onPath('list', this.path, () => this.files.list(this.path)))]
  }

  /** Throws `destination_not_found` or `destination_path_conflict` unless the root is a directory. */
  async check(): Promise<void> {
    const info = await this.info(this.path)
    if (info === undefined) throw new DestinationNotFoundError(`Cannot find the destination "${this.path}"`, { details: { path: this.path } })
    if (info.type !== 'directory') throw notADirectory(this.path)
  }

  /** Creates a missing root. Resolves with the directories that were made, outermost first. */
  async ensure(): Promise<readonly string[]> {
    const info = await this.info(this.path)
    if (info === undefined) {
      const created = await this.#makeDirectories(this.path)
      await this.check()
      return created
    }
    if (info.type !== 'directory') throw notADirectory(this.path)
    return []
  }

  /** Rejects unless entries can be made and removed at the root. A full disk does not count: removing still works there. */
  async checkWritable(): Promise<void> {
    const directory = join(this.path, newUlid() + TEMPORARY_SUFFIX)
    try {
      await this.files.makeDirectory(directory)
    } catch (error) {
      if (isSystemError(error, 'ENOSPC', 'EDQUOT')) return
      throw pathError('write to', this.path, error)
    }
    await this.#removeEmptyDirectory(directory)
  }

  /** Makes the names in a directory durable, where the file system can do that. */
  async sync(path: string): Promise<void> {
    if (await onPath('sync', path, () => syncIfPossible(this.files, path))) return
    this.warnings.lacks({
      code: 'directories_not_synced',
      message: `The file system of "${this.path}" cannot sync directories: a crash of the machine may take back the last backups, or bring deleted ones back`,
    })
  }

  /** Looks whether something that was made with a private mode has it. */
  noteMode({ mode }: FileInfo): void {
    if ((mode & OTHERS_READ_OR_WRITE) === 0) return
    this.warnings.lacks({
      code: 'permissions_not_kept',
      message: `The file system of "${this.path}" does not keep permissions: how it is mounted decides which users can read or replace backups`,
    })
  }

  /** Removes directories that `ensure` made, innermost first. */
  async removeCreated(created: readonly string[]): Promise<void> {
    for (const path of created.toReversed()) await this.#removeEmptyDirectory(path)
  }

  async #makeDirectories(path: string): Promise<readonly string[]> {
    const parent = dirname(path)
    const made = await this.#makeDirectory(path, parent === path)
    const above = made === 'no parent' ? await this.#makeDirectories(parent) : []
    const isMade = made === 'no parent' ? await this.#makeDirectory(path, true) : made
    // Sync even if another process made the directory: that process may die before its own sync.
    await this.sync(parent)
    return isMade === 'made' ? [...above, path] : above
  }

  async #makeDirectory(path: string, needsParent: boolean): Promise<'made' | 'there' | 'no parent'> {
    try {
      await this.files.makeDirectory(path)
      return 'made'
    } catch (error) {
      if (isSystemError(error, 'EEXIST')) return 'there'
      if (isSystemError(error, 'ENOENT') && !needsParent) return 'no parent'
      throw pathError('create', path, error)
    }
  }

  async #removeEmptyDirectory(path: string): Promise<void> {
    await onPath('remove', path, async () => {
      try {
        await this.files.removeDirectory(path)
      } catch (error) {
        // Another process uses the directory, or has removed it.
        if (!isSystemError(error, 'ENOTEMPTY', 'EEXIST', 'ENOENT')) throw error
      }
    })
  }
}

export function notADirectory(path: string, cause?: unknown): DestinationPathConflictError {
  return new DestinationPathConflictError(`Cannot use "${path}": it is not a directory (links are not followed)`, { cause, details: { path } })
}

export function notAFile(path: string): string {
  return `Cannot use "${path}": it is not a regular file (links are not followed)`
}
