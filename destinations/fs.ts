/** Backups in a directory of a mounted file system. */
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { checkBackupId, isBackupId, newBackupId } from '../src/backup-id.ts'
import {
  type BackupObject,
  type BackupStat,
  type BackupUpload,
  type Destination,
  type DestinationOptions,
  type DestinationWarning,
  MAX_MANIFEST_BYTES,
  type PutOptions,
  type SweepOptions,
  type SweepReport,
} from '../src/destination.ts'
import {
  BackupIncompleteError,
  DestinationConfigInvalidError,
  DestinationNoSpaceError,
  DestinationNotFoundError,
  DestinationPathConflictError,
  DestinationUnreachableError,
  ManifestInvalidError,
  ManifestMissingError,
} from '../src/errors.ts'
import { type FileInfo, type Files, isSystemError, nodeFiles, readSmallFile } from '../src/files.ts'
import { onPath, pathError } from './fs-errors.ts'
import { BACKUP_FILES, duplicate, FsUpload, MANIFEST_FILE, removeBackupFiles, removePublished } from './fs-upload.ts'
import { rootWarnings } from './fs-warnings.ts'

export interface FsDestinationOptions {
  /**
   * The root directory, absolute or relative to the working directory of this call. It must not be a symbolic link; the
   * directories above it may be. The first `put` creates it when missing, missing parents included, each with mode 0700.
   */
  readonly path: string
  /** The file system. @default the real one */
  readonly files?: Files | undefined
  /** Bytes after which what was written is sent to the disk while more is written, so that `publish` waits for little. @default 33554432 (32 MiB) */
  readonly flushBytes?: number | undefined
}

const DAY_MS = 24 * 60 * 60 * 1000
const TEMPORARY_SUFFIX = '.tmp'
const PROBE = new TextEncoder().encode('holdfast probe\n')

/**
 * A destination in a directory. Each backup is a directory named by its ID, written as `<ID>.tmp` and published by one rename;
 * directories have mode 0700 and files 0600 whatever the umask. Links are never followed at the root or below. Nothing is touched before
 * the first call of a method.
 *
 * Errors name the operation and the path in their message and their `details`. Throws `destination_config_invalid` for a path that cannot be one.
 */
export function fsDestination(options: FsDestinationOptions): Destination {
  const { path, files = nodeFiles, flushBytes } = options
  if (typeof path !== 'string' || path === '' || path.includes('\0')) {
    throw new DestinationConfigInvalidError('Cannot use the path of a file destination: it is empty or holds a NUL character')
  }
  if (flushBytes !== undefined && !(flushBytes > 0)) throw new RangeError('flushBytes must be greater than 0')
  return new FsDestination(resolve(path), files, flushBytes)
}

/**
 * A destination by URL. `file:PATH` takes the path as it stands, relative or absolute, with no decoding: `file:my backups`, `file:/srv/100%`.
 * `file:///PATH` is a URL proper: absolute, percent-encoded, without query or fragment.
 *
 * Throws `destination_config_invalid` for a URL that names another host, encodes a slash, or has no path.
 */
export function openFsDestination(url: string, options: Omit<FsDestinationOptions, 'path'> = {}): Destination {
  const path = url.replace(/^file:/i, '')
  return fsDestination({ ...options, path: path.startsWith('//') ? decodedPath(url) : path })
}

class FsDestination implements Destination {
  readonly scheme = 'file'
  readonly url: string
  readonly #root: string
  readonly #files: Files
  readonly #flushBytes: number | undefined

  constructor(root: string, files: Files, flushBytes: number | undefined) {
    this.url = `file:${root}`
    this.#root = root
    this.#files = files
    this.#flushBytes = flushBytes
  }

  async validate(options: DestinationOptions = {}): Promise<readonly DestinationWarning[]> {
    options.signal?.throwIfAborted()
    // A root that is still missing is made for the probe, so that what `put` will need is what is tried.
    const created = await this.#ensureRoot()
    try {
      await this.#probe()
      const info = await this.#info(this.#root)
      const { type } = await onPath('look at', this.#root, () => this.#files.space(this.#root))
      return info === undefined ? [] : rootWarnings(this.#root, info, type)
    } finally {
      for (const path of created.toReversed()) await this.#removeEmptyDirectory(path)
    }
  }

  async put(backupId: string, options: PutOptions = {}): Promise<BackupUpload> {
    checkBackupId(backupId)
    const { signal, expectedBytes = 0 } = options
    signal?.throwIfAborted()
    if (!(expectedBytes >= 0)) throw new RangeError('expectedBytes must be 0 or greater')
    await this.#ensureRoot()
    const published = join(this.#root, backupId)
    const there = await this.#info(published)
    if (there?.type === 'directory') throw duplicate(backupId, published)
    if (there !== undefined) throw notADirectory(published)
    await this.#checkSpace(expectedBytes)
    const temporary = published + TEMPORARY_SUFFIX
    try {
      await this.#files.makeDirectory(temporary)
    } catch (error) {
      if (!isSystemError(error, 'EEXIST')) throw pathError('create', temporary, error)
      if ((await this.#info(temporary))?.type !== 'directory') throw notADirectory(temporary, error)
      throw duplicate(backupId, temporary, error)
    }
    return new FsUpload({ root: this.#root, temporary, published }, { files: this.#files, flushBytes: this.#flushBytes, backupId, signal })
  }

  async manifest(backupId: string, options: DestinationOptions = {}): Promise<Uint8Array> {
    checkBackupId(backupId)
    options.signal?.throwIfAborted()
    const path = join(await this.#listed(backupId), MANIFEST_FILE)
    try {
      const bytes = await readSmallFile(this.#files, path, MAX_MANIFEST_BYTES)
      if (bytes === undefined) throw new ManifestMissingError(`Cannot read "${path}": it was removed meanwhile`)
      return bytes
    } catch (error) {
      if (isSystemError(error, 'EFBIG')) {
        throw new ManifestInvalidError(`Cannot read "${path}": a manifest has at most ${MAX_MANIFEST_BYTES} bytes`, { cause: error })
      }
      throw pathError('read', path, error)
    }
  }

  async *open(
    backupId: string,
    object: BackupObject,
    options: DestinationOptions & { readonly startByte?: number | undefined } = {},
  ): AsyncIterable<Uint8Array> {
    checkBackupId(backupId)
    const { signal, startByte = 0 } = options
    if (!Number.isSafeInteger(startByte) || startByte < 0) throw new RangeError('startByte must be a whole number, 0 or greater')
    const path = join(await this.#listed(backupId), object)
    try {
      signal?.throwIfAborted()
      for await (const chunk of this.#files.read(path, { startByte })) {
        yield chunk
        signal?.throwIfAborted()
      }
    } catch (error) {
      if (isSystemError(error, 'ENOENT')) throw new BackupIncompleteError(`Cannot read "${path}": it is missing`, { cause: error })
      throw pathError('read', path, error)
    }
  }

  async stat(backupId: string, options: DestinationOptions = {}): Promise<BackupStat> {
    checkBackupId(backupId)
    options.signal?.throwIfAborted()
    const directory = await this.#listed(backupId)
    const size = async (object: BackupObject): Promise<number | undefined> => {
      const info = await this.#info(join(directory, object))
      if (info !== undefined && info.type !== 'file') throw notAFile(join(directory, object))
      return info?.bytes
    }
    return { bytes: { payload: await size('payload'), 'payload-ids': await size('payload-ids') } }
  }

  async *list(options: DestinationOptions = {}): AsyncIterable<string> {
    await this.#checkRoot()
    for (const name of await onPath('list', this.#root, () => this.#files.list(this.#root))) {
      options.signal?.throwIfAborted()
      if (isBackupId(name) && (await this.#isListed(join(this.#root, name)))) yield name
    }
  }

  async delete(backupId: string, options: DestinationOptions = {}): Promise<void> {
    checkBackupId(backupId)
    options.signal?.throwIfAborted()
    await this.#checkRoot()
    const directory = join(this.#root, backupId)
    const there = await this.#info(directory)
    if (there !== undefined) {
      if (there.type !== 'directory') throw notADirectory(directory)
      await removePublished(this.#files, directory)
    }
    // Also when nothing was there: a delete before this one may have been cut off just here.
    await onPath('sync', this.#root, () => this.#files.syncDirectory(this.#root))
  }

  async sweep(options: SweepOptions = {}): Promise<SweepReport> {
    const { graceMs = DAY_MS, nowMs = Date.now(), signal } = options
    if (!(graceMs >= 0)) throw new RangeError('graceMs must be 0 or greater')
    if (!Number.isFinite(nowMs)) throw new RangeError('nowMs must be a time in milliseconds')
    await this.#checkRoot()
    const removed: string[] = []
    const kept: string[] = []
    for (const name of await onPath('list', this.#root, () => this.#files.list(this.#root))) {
      signal?.throwIfAborted()
      const path = join(this.#root, name)
      const modifiedAtMs = await this.#leftover(name, path)
      if (modifiedAtMs === undefined) continue
      if (nowMs - modifiedAtMs < graceMs) {
        kept.push(name)
        continue
      }
      if (await this.#removeLeftover(path)) removed.push(name)
    }
    return { removed, kept }
  }

  async close(): Promise<void> {
    // Every file is closed by the call that opened it.
  }

  /** When the leftover at a path was last written to; `undefined` where it is none of ours, or a listed backup. */
  async #leftover(name: string, path: string): Promise<number | undefined> {
    const temporary = name.endsWith(TEMPORARY_SUFFIX)
    if (!isBackupId(temporary ? name.slice(0, -TEMPORARY_SUFFIX.length) : name)) return undefined
    const info = await this.#info(path)
    if (info?.type !== 'directory') return undefined
    if (!temporary && (await this.#info(join(path, MANIFEST_FILE))) !== undefined) return undefined
    const names = await onPath('list', path, () => this.#files.list(path)).catch(orIfGone([]))
    // Not Holdfast's, then, whatever its name.
    if (names.some((name) => !BACKUP_FILES.includes(name))) return undefined
    // An upload that is under way writes to its files long after it wrote to its directory.
    const times = await Promise.all(names.map(async (name) => (await this.#info(join(path, name)))?.modifiedAtMs ?? 0))
    return Math.max(info.modifiedAtMs, ...times)
  }

  /** Resolves with whether it was still there. */
  async #removeLeftover(path: string): Promise<boolean> {
    // Taken away under a name of our own first: an upload that is alive after all cannot then publish what is half removed.
    const claimed = join(this.#root, newBackupId() + TEMPORARY_SUFFIX)
    try {
      await this.#files.rename(path, claimed)
    } catch (error) {
      if (isSystemError(error, 'ENOENT')) return false
      throw pathError('remove', path, error)
    }
    await removeBackupFiles(this.#files, claimed)
    return true
  }

  async #info(path: string): Promise<FileInfo | undefined> {
    return await onPath('look at', path, () => this.#files.info(path))
  }

  async #checkRoot(): Promise<void> {
    const info = await this.#info(this.#root)
    if (info === undefined) throw new DestinationNotFoundError(`Cannot find the destination "${this.#root}"`, { details: { path: this.#root } })
    if (info.type !== 'directory') throw notADirectory(this.#root)
  }

  /** Creates the root when it is missing; resolves with the directories that were made, outermost first. */
  async #ensureRoot(): Promise<readonly string[]> {
    const info = await this.#info(this.#root)
    if (info === undefined) {
      const created = await this.#makeDirectories(this.#root)
      await this.#checkRoot()
      return created
    }
    if (info.type !== 'directory') throw notADirectory(this.#root)
    return []
  }

  async #makeDirectories(path: string): Promise<readonly string[]> {
    const parent = dirname(path)
    let above: readonly string[] = []
    try {
      await this.#files.makeDirectory(path)
    } catch (error) {
      if (isSystemError(error, 'EEXIST')) return []
      if (!isSystemError(error, 'ENOENT') || parent === path) throw pathError('create', path, error)
      above = await this.#makeDirectories(parent)
      await onPath('create', path, () => this.#files.makeDirectory(path))
    }
    await onPath('sync', parent, () => this.#files.syncDirectory(parent))
    return [...above, path]
  }

  async #removeEmptyDirectory(path: string): Promise<void> {
    await onPath('remove', path, async () => {
      try {
        await this.#files.removeDirectory(path)
      } catch (error) {
        // Another process has found it and uses it.
        if (!isSystemError(error, 'ENOTEMPTY', 'EEXIST', 'ENOENT')) throw error
      }
    })
  }

  async #checkSpace(expectedBytes: number): Promise<void> {
    const { freeBytes } = await onPath('look at', this.#root, () => this.#files.space(this.#root))
    if (freeBytes === undefined || freeBytes >= expectedBytes) return
    throw new DestinationNoSpaceError(`Cannot write to "${this.#root}": ${expectedBytes} bytes are needed at least, ${freeBytes} are free`, {
      details: { operation: 'write', path: this.#root, neededBytes: expectedBytes, freeBytes },
    })
  }

  /** Does all that a backup needs, under the name of an upload, so that a sweep removes what a crash leaves. */
  async #probe(): Promise<void> {
    const directory = join(this.#root, newBackupId() + TEMPORARY_SUFFIX)
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
        throw new DestinationUnreachableError(`Cannot read "${path}" back: it holds other bytes than were written`)
      }
      await onPath('sync', directory, () => this.#files.syncDirectory(directory))
    } finally {
      await removeBackupFiles(this.#files, directory)
    }
  }

  /** The directory of a published backup. */
  async #listed(backupId: string): Promise<string> {
    const directory = join(this.#root, backupId)
    await this.#checkRoot()
    const info = await this.#info(directory)
    if (info !== undefined && info.type !== 'directory') throw notADirectory(directory)
    const manifest = join(directory, MANIFEST_FILE)
    const manifestInfo = info === undefined ? undefined : await this.#info(manifest)
    if (manifestInfo === undefined) {
      throw new ManifestMissingError(`Cannot find backup ${backupId} at "${this.#root}"`, { details: { backupId, path: manifest } })
    }
    if (manifestInfo.type !== 'file') throw notAFile(manifest)
    return directory
  }

  async #isListed(directory: string): Promise<boolean> {
    if ((await this.#info(directory))?.type !== 'directory') return false
    return (await this.#info(join(directory, MANIFEST_FILE)))?.type === 'file'
  }
}

function decodedPath(url: string): string {
  try {
    const parsed = new URL(url)
    if (parsed.search !== '' || parsed.hash !== '') throw new TypeError('A file URL has no query and no fragment; write "?" as %3F and "#" as %23')
    return fileURLToPath(parsed)
  } catch (cause) {
    throw new DestinationConfigInvalidError('Cannot use the file URL of a destination: it must be file:PATH or file:///ABSOLUTE/PATH', { cause })
  }
}

function notADirectory(path: string, cause?: unknown): DestinationPathConflictError {
  return new DestinationPathConflictError(`Cannot use "${path}": it is no directory (links are not followed)`, { cause, details: { path } })
}

function notAFile(path: string): DestinationPathConflictError {
  return new DestinationPathConflictError(`Cannot use "${path}": it is no regular file (links are not followed)`, { details: { path } })
}

/** For a rejection of `destination_not_found`: another value where it is gone, the error where it is another. */
function orIfGone<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (error instanceof DestinationNotFoundError) return value
    throw error
  }
}
