/** Backups in a directory of a mounted file system. */
import { join, resolve } from 'node:path'
import { SIGNAL_OPTION, checkBackupCall, checkCleanUpCall, checkOpenCall } from '../../src/contracts/checked-calls.ts'
import { isUlid, newUlid } from '../../src/util/ulid.ts'
import {
  BACKUP_OBJECTS, type BackupObject, type BackupStat, type BackupUpload, type Destination, type DestinationOptions, type DestinationWarning, MAX_MANIFEST_BYTES,
  type CleanUpOptions, type CleanUpReport, type ReadObjectOptions,
} from '../../src/contracts/destination.ts'
import {
  BackupIncompleteError, DestinationConfigInvalidError, DestinationNotFoundError, ManifestInvalidError, ManifestMissingError,
} from '../../src/errors/errors.ts'
import { FILES, type Files, isSystemError, nodeFiles, readSmallFile, renameSurely } from '../../src/util/files.ts'
import { NUMBER, type OptionKinds, STRING, checkArgument, checkOptions, optional } from '../../src/util/check-options.ts'
import { findParameterFault, findPathFault, parametersOfPath, pathOfUrl, urlOfPath } from '../../src/util/urls.ts'
import { BACKUP_FILES, MANIFEST_FILE, removeBackupFiles, removePublished, warnOfOthers } from './backup-files.ts'
import { onPath, pathError } from './errors.ts'
import { FsRoot, notADirectory, notAFile, TEMPORARY_SUFFIX } from './root.ts'
import { duplicate, FsUpload } from './upload.ts'
import { probe, rootWarnings } from './validate.ts'

export interface FsDestinationOptions {
  /**
   * The root directory, absolute or relative to the working directory of this call.
   * The root must not be a symbolic link; the directories above may be.
   * The first `put` creates the root and missing parents, each with mode 0700.
   */
  readonly path: string
  /** The file system. @default the real one */
  readonly files?: Files | undefined
  /** Bytes after which writes go to the disk while more is written, so that `publish` waits little. @default 33554432 (32 MiB) */
  readonly flushBytes?: number | undefined
}

const OPTIONS: OptionKinds<FsDestinationOptions> = { path: STRING, files: optional(FILES), flushBytes: optional(NUMBER) }

const DAY_MS = 24 * 60 * 60 * 1000
/** What opening a link, a FIFO, a directory or a socket fails with. */
const NOT_A_FILE = ['EINVAL', 'ELOOP', 'EISDIR', 'ENXIO'] as const

/**
 * A destination in a directory. Each backup is a directory named by its ID, written as `<ID>.tmp` and published by one rename.
 *
 * Directories have mode 0700 and files 0600 whatever the umask. Links are never followed at the root or below.
 * The first call of a method is the first to touch the file system.
 *
 * Errors name the operation and the path in their message and their `details`. Throws `destination_config_invalid` for a malformed path.
 */
export function fsDestination(options: FsDestinationOptions): Destination {
  checkOptions('fsDestination', options, OPTIONS)
  const { path, files = nodeFiles, flushBytes } = options
  if (path === '' || path.includes('\0')) {
    throw new DestinationConfigInvalidError('Cannot use the path of a file destination: it is empty or has a NUL character')
  }
  if (flushBytes !== undefined && !(flushBytes > 0)) throw new RangeError('flushBytes must be greater than 0')
  return new FsDestination(resolve(path), files, flushBytes)
}

/**
 * Opens a destination by URL.
 *
 * - `file:PATH` takes the path literally, relative or absolute, without decoding: `file:my backups`, `file:/srv/100%`.
 * - `file:///PATH` is a URL proper: absolute, percent-encoded, without query or fragment.
 *
 * Throws `destination_config_invalid` for a URL that names another host, encodes a slash, has no path, or has parameters (`?NAME=`).
 */
export function openFsDestination(url: string, options: Omit<FsDestinationOptions, 'path'> = {}): Destination {
  checkArgument('openFsDestination', url, { name: 'url', kind: STRING })
  checkOptions('openFsDestination', options, { files: OPTIONS.files, flushBytes: OPTIONS.flushBytes })
  const path = pathOfUrl(url)
  if (path === undefined) {
    const { sentence = 'it must be file:PATH or file:///ABSOLUTE/PATH', hint } = findPathFault(url) ?? {}
    throw new DestinationConfigInvalidError(`Cannot use the file URL of a destination: ${sentence}`, { hint })
  }
  const fault = findParameterFault(parametersOfPath(url), { scheme: 'file', known: [] })
  if (fault !== undefined) {
    throw new DestinationConfigInvalidError(`Cannot use the file URL of a destination: ${fault.sentence}`, {
      hint: `${fault.hint}; for a path with a "?", write file:///PATH with %3F`,
    })
  }
  return fsDestination({ ...options, path })
}

class FsDestination implements Destination {
  readonly scheme = 'file'
  readonly url: string
  readonly #root: FsRoot
  readonly #files: Files
  readonly #flushBytes: number | undefined

  constructor(root: string, files: Files, flushBytes: number | undefined) {
    this.url = urlOfPath('file', root)
    this.#root = new FsRoot(root, files)
    this.#files = files
    this.#flushBytes = flushBytes
  }

  async validate(options: DestinationOptions = {}): Promise<readonly DestinationWarning[]> {
    checkOptions('validate', options, SIGNAL_OPTION)
    options.signal?.throwIfAborted()
    // Create a missing root for the probe, as `put` would.
    const created = await this.#root.ensure()
    try {
      await probe(this.#root)
      return [...(await rootWarnings(this.#root)), ...this.#root.warnings.tellLacking()]
    } finally {
      await this.#root.removeCreated(created)
    }
  }

  async put(backupId: string, options: DestinationOptions = {}): Promise<BackupUpload> {
    checkBackupCall('put', backupId, options)
    const { signal } = options
    signal?.throwIfAborted()
    await this.#root.ensure()
    const published = join(this.#root.path, backupId)
    const there = await this.#root.info(published)
    if (there?.type === 'directory') throw duplicate(backupId, published)
    if (there !== undefined) throw notADirectory(published)
    const temporary = published + TEMPORARY_SUFFIX
    try {
      await this.#files.makeDirectory(temporary)
    } catch (error) {
      if (!isSystemError(error, 'EEXIST')) throw pathError('create', temporary, error)
      if ((await this.#root.info(temporary))?.type !== 'directory') throw notADirectory(temporary, error)
      throw duplicate(backupId, temporary, error)
    }
    return new FsUpload({ temporary, published }, { root: this.#root, flushBytes: this.#flushBytes, backupId, signal })
  }

  async manifest(backupId: string, options: DestinationOptions = {}): Promise<Uint8Array> {
    checkBackupCall('manifest', backupId, options)
    options.signal?.throwIfAborted()
    const directory = await this.#listed(backupId)
    const path = join(directory, MANIFEST_FILE)
    // A caller that lists manifests learns of a link or a FIFO in place of an object too.
    for (const object of BACKUP_OBJECTS) await this.#sizeOf(join(directory, object))
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

  async *open(backupId: string, object: BackupObject, options: ReadObjectOptions = {}): AsyncIterable<Uint8Array> {
    checkOpenCall(backupId, object, options)
    const { signal, startByte = 0 } = options
    const path = join(await this.#listed(backupId), object)
    try {
      signal?.throwIfAborted()
      for await (const chunk of this.#files.read(path, { startByte })) {
        yield chunk
        signal?.throwIfAborted()
      }
    } catch (error) {
      if (isSystemError(error, 'ENOENT')) throw new BackupIncompleteError(`Cannot read "${path}": it is missing`, { cause: error })
      if (isSystemError(error, ...NOT_A_FILE)) throw new BackupIncompleteError(notAFile(path), { cause: error })
      throw pathError('read', path, error)
    }
  }

  async stat(backupId: string, options: DestinationOptions = {}): Promise<BackupStat> {
    checkBackupCall('stat', backupId, options)
    options.signal?.throwIfAborted()
    const directory = await this.#listed(backupId)
    return { bytes: { payload: await this.#sizeOf(join(directory, 'payload')), 'payload-ids': await this.#sizeOf(join(directory, 'payload-ids')) } }
  }

  async *list(options: DestinationOptions = {}): AsyncIterable<string> {
    checkOptions('list', options, SIGNAL_OPTION)
    const names = await this.#root.list()
    for (const name of names) {
      options.signal?.throwIfAborted()
      if (!isUlid(name)) continue
      const directory = join(this.#root.path, name)
      if (await this.#isListed(directory)) yield name
      else await this.#warnOfOtherType(directory)
    }
    this.#warnOfWrongRoot(names)
  }

  async delete(backupId: string, options: DestinationOptions = {}): Promise<void> {
    checkBackupCall('delete', backupId, options)
    options.signal?.throwIfAborted()
    await this.#root.check()
    const directory = join(this.#root.path, backupId)
    const there = await this.#root.info(directory)
    if (there !== undefined) {
      if (there.type !== 'directory') throw notADirectory(directory)
      // Check first: otherwise the backup would be emptied and its directory would have to stay.
      await this.#root.checkWritable()
      await removePublished(this.#root, directory, { rivals: true })
    }
    // Sync even when nothing was there: an earlier delete may have been cut off just before this step.
    await this.#root.sync(this.#root.path)
  }

  async cleanUp(options: CleanUpOptions = {}): Promise<CleanUpReport> {
    checkCleanUpCall(options)
    const { graceMs = DAY_MS, nowMs = Date.now(), signal } = options
    const removed: string[] = []
    const kept: string[] = []
    const names = await this.#root.list()
    for (const name of names) {
      signal?.throwIfAborted()
      const path = join(this.#root.path, name)
      const modifiedAtMs = await this.#leftover(name, path)
      if (modifiedAtMs === undefined) continue
      if (nowMs - modifiedAtMs < graceMs) {
        kept.push(name)
        continue
      }
      if (await this.#removeLeftover(path)) removed.push(name)
    }
    return { removed, kept, newest: await this.#newest(names) }
  }

  takeWarnings(): readonly DestinationWarning[] {
    return this.#root.warnings.take()
  }

  async close(): Promise<void> {
    // Every file is closed by the call that opened it.
  }

  /** Warns of something else in the place of a backup's directory: a backup that was moved away and linked to is not found. */
  async #warnOfOtherType(directory: string): Promise<void> {
    const info = await this.#root.info(directory)
    if (info === undefined || info.type === 'directory') return
    const message = `"${directory}" is not a directory (links are not followed): a backup there is not listed; put the directory itself in its place`
    this.#root.warnings.leaves({ code: 'not_a_backup', message })
  }

  /** Warns of a root with nothing of Holdfast's in it, but something else: it may be the wrong directory. */
  #warnOfWrongRoot(names: readonly string[]): void {
    if (names.some((name) => isUlid(name.slice(0, 26)))) return
    const other = names.find((name) => !name.startsWith('.') && name !== 'lost+found' && !BACKUP_FILES.includes(name))
    if (other === undefined) return
    const message = `"${this.#root.path}" has other files in it, such as ${JSON.stringify(other)}: check that it is the right directory`
    this.#root.warnings.lacks({ code: 'other_files', message })
  }

  async #newest(names: readonly string[]): Promise<string | null> {
    for (const name of names.toReversed()) if (isUlid(name) && (await this.#isListed(join(this.#root.path, name)))) return name
    return null
  }

  /** When the leftover at a path was last written to; `undefined` for a listed backup, or something that is not Holdfast's. */
  async #leftover(name: string, path: string): Promise<number | undefined> {
    const temporary = name.endsWith(TEMPORARY_SUFFIX)
    if (!isUlid(temporary ? name.slice(0, -TEMPORARY_SUFFIX.length) : name)) return undefined
    const info = await this.#root.info(path)
    if (info?.type !== 'directory') return undefined
    if (!temporary && (await this.#root.info(join(path, MANIFEST_FILE))) !== undefined) return undefined
    const names = await onPath('list', path, () => this.#files.list(path)).catch(orIfGone([]))
    // Others' files alone: what is Holdfast's is gone already, or never was there.
    if (names.length > 0 && !names.some((name) => BACKUP_FILES.includes(name))) return undefined
    // A running upload writes to its files long after the last write to its directory.
    const times = await Promise.all(names.map(async (name) => (await this.#root.info(join(path, name)))?.modifiedAtMs ?? 0))
    return Math.max(info.modifiedAtMs, ...times)
  }

  /** Removes a leftover. Resolves with whether it is gone by this call. */
  async #removeLeftover(path: string): Promise<boolean> {
    // Look first: the operator finds files of others where they were, not under a new name.
    if (warnOfOthers(this.#root, path, await onPath('list', path, () => this.#files.list(path)).catch(orIfGone([])))) return false
    // Rename before anything is removed: if the upload is alive after all, it cannot publish a half removed directory.
    let claimed = join(this.#root.path, newUlid() + TEMPORARY_SUFFIX)
    try {
      await renameSurely(this.#files, { from: path, to: claimed }, async () => (await this.#files.info(claimed)) !== undefined)
    } catch (error) {
      if (isSystemError(error, 'ENOENT')) return false
      if (!isSystemError(error, 'EXDEV')) throw pathError('remove', path, error)
      // On overlayfs, a directory of a lower layer cannot be renamed; a running upload has made its own in the upper one.
      claimed = path
    }
    // A delete was cut off here: make the removal of the manifest durable before the objects go.
    if (!path.endsWith(TEMPORARY_SUFFIX)) await this.#root.sync(claimed)
    return await removeBackupFiles(this.#root, claimed)
  }

  /** The directory of a published backup. */
  async #listed(backupId: string): Promise<string> {
    const directory = join(this.#root.path, backupId)
    await this.#root.check()
    const info = await this.#root.info(directory)
    if (info !== undefined && info.type !== 'directory') throw notADirectory(directory)
    const manifest = join(directory, MANIFEST_FILE)
    const manifestInfo = info === undefined ? undefined : await this.#root.info(manifest)
    if (manifestInfo === undefined) {
      throw new ManifestMissingError(`Cannot find backup ${backupId} at "${this.#root.path}"`, { details: { backupId, path: manifest } })
    }
    if (manifestInfo.type !== 'file') throw new ManifestInvalidError(notAFile(manifest), { details: { backupId, path: manifest } })
    return directory
  }

  /** Whatever stands in place of the manifest: a backup that was tampered with does not go unseen. */
  async #isListed(directory: string): Promise<boolean> {
    if ((await this.#root.info(directory))?.type !== 'directory') return false
    return (await this.#root.info(join(directory, MANIFEST_FILE))) !== undefined
  }

  /** The size of an object; `undefined` if it is missing. */
  async #sizeOf(path: string): Promise<number | undefined> {
    const info = await this.#root.info(path)
    if (info !== undefined && info.type !== 'file') throw new BackupIncompleteError(notAFile(path), { details: { path } })
    return info?.bytes
  }
}

/** Returns a rejection handler that turns `destination_not_found` into a value and rethrows any other error. */
function orIfGone<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (error instanceof DestinationNotFoundError) return value
    throw error
  }
}
