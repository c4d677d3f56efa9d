/** The root directory of a destination. */
import { dirname, join } from 'node:path'
import { newUlid } from '../../src/util/ulid.ts'
import { DestinationNotFoundError, DestinationPathConflictError, DestinationUnreachableError } from '../../src/errors/errors.ts'
import { type FileInfo, type Files, isSystemError, readSmallFile } from '../../src/util/files.ts'
import { onPath, pathError } from './errors.ts'
import { removeBackupFiles } from './upload.ts'

/** Follows the ID in the name of an upload's directory. */
export const TEMPORARY_SUFFIX = '.tmp'
const PROBE = new TextEncoder().encode('holdfast probe\n')

export class FsRoot {
  readonly path: string
  readonly #files: Files

  constructor(path: string, files: Files) {
    this.path = path
    this.#files = files
  }

  async info(path: string): Promise<FileInfo | undefined> {
    return await onPath('look at', path, () => this.#files.info(path))
  }

  /** The names at the root. */
  async list(): Promise<readonly string[]> {
    await this.check()
    return await onPath('list', this.path, () => this.#files.list(this.path))
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
      await this.#files.makeDirectory(directory)
    } catch (error) {
      if (isSystemError(error, 'ENOSPC', 'EDQUOT')) return
      throw pathError('write to', this.path, error)
    }
    await this.#removeEmptyDirectory(directory)
  }

  /** Tries all that a backup needs, under the name of an upload, so that a clean-up removes what a crash leaves. */
  async probe(): Promise<void> {
    const directory = join(this.path, newUlid() + TEMPORARY_SUFFIX)
    await onPath('create', directory, () => this.#files.makeDirectory(directory))
    try {
      const path = join(directory, 'payload')
      await onPath('write', path, async () => {
        const file = await this.#files.create(path)
        try {
          await file.write(PROBE)
          await file.sync()
        } finally {
          await file.close()
        }
      })
      const read = await onPath('read', path, () => readSmallFile(this.#files, path, PROBE.byteLength))
      if (read === undefined || !read.equals(PROBE)) {
        throw new DestinationUnreachableError(`Cannot read "${path}" back: its bytes are not those that were written`)
      }
      await onPath('sync', directory, () => this.#files.syncDirectory(directory))
    } finally {
      await removeBackupFiles(this.#files, directory)
    }
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
    await onPath('sync', parent, () => this.#files.syncDirectory(parent))
    return isMade === 'made' ? [...above, path] : above
  }

  async #makeDirectory(path: string, needsParent: boolean): Promise<'made' | 'there' | 'no parent'> {
    try {
      await this.#files.makeDirectory(path)
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
        await this.#files.removeDirectory(path)
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
