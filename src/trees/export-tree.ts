/**
 * Writes a share back as a directory tree: content, types, modes, times, link targets and hard links; owners too where
 * the process may set them. What the file system does not have is left out and counted. Pages of zeros become holes. Times are exact to the
 * microsecond, before 1970 to the millisecond: Node sets no finer ones.
 */
import { constants } from 'node:fs'
import { chmod, lchown, link, lstat, lutimes, mkdir, open, readdir, rmdir, symlink, unlink, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { failureAfter } from '../errors/clean-up.ts'
import { ChecksumMismatchError, isHoldfastError, RecordInvalidError, RestoreDestinationNotEmptyError } from '../errors/errors.ts'
import { isSystemError } from '../util/files.ts'
import type { Block, Inode, InodeNumber, MetadataStore } from '../contracts/metadata-store.ts'
import { pagesOf } from '../metadata/walk-tree.ts'
import { asHoldfastError } from '../util/system-errors.ts'
import type { WritablePayloadStore } from '../contracts/payload-store.ts'
import { forEachLimited } from '../util/in-parallel.ts'
import { MAX_LISTED } from './import-tree.ts'
import { SparseFile } from './sparse-file.ts'

export interface ExportOptions {
  /** The directory to create; an existing one must be empty. */
  readonly directory: string
  readonly store: MetadataStore
  /** The root of the share. */
  readonly root: InodeNumber
  readonly payloads: Pick<WritablePayloadStore, 'read'>
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((counts: ExportCounts) => void) | undefined
}

export interface ExportCounts {
  files: number
  directories: number
  symlinks: number
  hardLinks: number
  /** Bytes of content written, each checked against its payload's digest. */
  bytes: number
  /** Paths of sockets, fifos and devices, which are not created; at most `MAX_LISTED`, and `notMadeCount` counts all. */
  readonly notMade: string[]
  notMadeCount: number
  /** Whether owners were set, as far as the system allows. */
  readonly owners: boolean
  /**
   * What the file system, or a user namespace, refused, and how often. A hard link became a file of its own; the rest was left out. A mode
   * counts too that was set without its set-user-ID and set-group-ID bits, because the owner could not be set.
   */
  readonly refused: Record<'owners' | 'modes' | 'times' | 'symlinks' | 'hardLinks', number>
}

/** What a system call fails with that the file system does not have, or that the user namespace does not map. */
const REFUSED = ['EPERM', 'ENOTSUP', 'ENOSYS', 'EINVAL', 'EOVERFLOW', 'EMLINK'] as const

const FILES_AT_ONCE = 8
const PRIVATE_DIRECTORY = 0o700
/** The set-user-ID and the set-group-ID bit. */
const SET_ID = 0o6000

/**
 * Exports a tree. Nothing else may write to the directory meanwhile. A failed export removes what it has written, or says that a partial
 * tree remains; one that is killed leaves it.
 */
export async function exportTree(options: ExportOptions): Promise<ExportCounts> {
  const { directory } = options
  const isMade = await makeTarget(directory)
  try {
    const root = await options.store.inode(options.root)
    if (root?.type !== 'directory') throw new RecordInvalidError(`Cannot export: inode ${options.root} is not the root of a share`)
    const exporter = new TreeExporter(options)
    await exporter.writeDirectory(directory, root)
    return exporter.counts
  } catch (error) {
    throw await failureAfter(error, () => removeExport(directory, { isMade, error }), `a partial tree remains in ${JSON.stringify(directory)}`)
  }
}

class TreeExporter {
  readonly counts: ExportCounts
  readonly #options: ExportOptions
  /** The first path of each inode with several names. */
  readonly #written = new Map<InodeNumber, Promise<string>>()
  /** Directories that were begun: a tree has each once. */
  readonly #directories = new Set<InodeNumber>()

  constructor(options: ExportOptions) {
    this.#options = options
    const owners = process.geteuid?.() === 0
    const refused = { owners: 0, modes: 0, times: 0, symlinks: 0, hardLinks: 0 }
    this.counts = { files: 0, directories: 0, symlinks: 0, hardLinks: 0, bytes: 0, notMade: [], notMadeCount: 0, owners, refused }
  }

  /** Fills an existing directory. Sets its mode and times last, because filling changes them. */
  async writeDirectory(path: string, directory: Inode): Promise<void> {
    if (this.#directories.has(directory.inode)) throw twice(path, directory)
    this.#directories.add(directory.inode)
    for await (const entries of pagesOf(this.#options.store, directory.inode)) {
      const directories: [string, Inode][] = []
      await forEachLimited(entries, FILES_AT_ONCE, async ({ name, inode: number }) => {
        this.#options.signal?.throwIfAborted()
        const child = join(path, checkName(name, path))
        const inode = await this.#options.store.inode(number)
        if (inode === undefined) throw new RecordInvalidError(`Cannot export ${JSON.stringify(child)}: its inode ${number} is missing`)
        if (inode.type === 'directory') directories.push([child, inode])
        else await this.#writeEntry(child, inode)
        this.#options.onProgress?.(this.counts)
      })
      for (const [child, inode] of directories) {
        await mkdir(child, { mode: PRIVATE_DIRECTORY }).catch(rethrowFor(child, 'create'))
        await this.writeDirectory(child, inode)
      }
    }
    await this.#setAttributes(path, directory).catch(rethrowFor(path, 'set the attributes of'))
    this.counts.directories += 1
  }

  /** Writes the first name of an inode, and links the others to it. */
  async #writeEntry(path: string, inode: Inode): Promise<void> {
    if (inode.links <= 1) return await this.#writeLeaf(path, inode).catch(rethrowFor(path, 'write'))
    const first = this.#written.get(inode.inode)
    if (first === undefined) {
      const writing = this.#writeLeaf(path, inode).then(() => path, rethrowFor(path, 'write'))
      // The await below throws the failure; later names of the file see it too.
      writing.catch(() => undefined)
      this.#written.set(inode.inode, writing)
      await writing
    } else if (isMade(inode)) {
      const target = await first
      await this.#link(target, path, inode).catch(rethrowFor(path, 'link'))
    } else {
      this.#passOver(path)
    }
  }

  async #link(target: string, path: string, inode: Inode): Promise<void> {
    if (await this.#attempt('hardLinks', () => link(target, path))) this.counts.hardLinks += 1
    else await this.#writeLeaf(path, inode)
  }

  async #writeLeaf(path: string, inode: Inode): Promise<void> {
    if (!isMade(inode)) return this.#passOver(path)
    if (inode.type === 'symlink') {
      if (!(await this.#attempt('symlinks', () => symlink(inode.symlinkTarget ?? '', path)))) return
      this.counts.symlinks += 1
    } else {
      await this.#writeFile(path, inode)
      this.counts.files += 1
    }
    await this.#setAttributes(path, inode)
  }

  async #writeFile(path: string, inode: Inode): Promise<void> {
    const handle = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600)
    try {
      const file = new SparseFile(handle)
      if (inode.payloadId === undefined) await this.#writeBlocks(file, inode)
      else await this.#append(file, await this.#options.payloads.read(inode.payloadId))
      await file.finish()
      if (file.bytes !== inode.size) {
        throw new ChecksumMismatchError(`Cannot export ${JSON.stringify(path)}: its content has ${file.bytes} bytes, the store says ${inode.size}`)
      }
    } finally {
      await handle.close()
    }
  }

  async #writeBlocks(file: SparseFile, inode: Inode): Promise<void> {
    for await (const block of this.#options.store.blocks(inode.inode)) {
      this.#options.signal?.throwIfAborted()
      await this.#append(file, await this.#readBlock(block))
    }
  }

  async #readBlock(block: Block): Promise<Uint8Array> {
    const payload = await this.#options.payloads.read(block.payloadId)
    if (block.offset + block.bytes <= payload.byteLength) return payload.subarray(block.offset, block.offset + block.bytes)
    throw new ChecksumMismatchError(`Cannot read a block of payload "${block.payloadId}": its ${payload.byteLength} bytes are too few`)
  }

  async #append(file: SparseFile, bytes: Uint8Array): Promise<void> {
    await file.append(bytes)
    this.counts.bytes += bytes.byteLength
  }

  async #setAttributes(path: string, inode: Inode): Promise<void> {
    // Changing the owner clears the set-user-ID bit, so the mode comes after it.
    if (this.counts.owners) await this.#attempt('owners', () => lchown(path, inode.uid, inode.gid))
    const [accessed, modified] = [timeOf(inode.accessedAtNs), timeOf(inode.modifiedAtNs)]
    if (inode.type !== 'symlink') await this.#setMode(path, inode)
    await this.#attempt('times', () => (inode.type === 'symlink' ? lutimes(path, accessed, modified) : utimes(path, accessed, modified)))
  }

  /** Sets the mode, without set-user-ID and set-group-ID bits on what is not its owner's: they would lend the rights of another user. */
  async #setMode(path: string, { mode, uid, gid }: Inode): Promise<void> {
    const stats = (mode & SET_ID) === 0 ? undefined : await lstat(path)
    const isLent = stats !== undefined && (stats.uid !== uid || stats.gid !== gid)
    if (await this.#attempt('modes', () => chmod(path, isLent ? mode & ~SET_ID : mode))) this.counts.refused.modes += isLent ? 1 : 0
  }

  /** Runs a system call. Counts one that is refused, and resolves with whether it was done. */
  async #attempt(what: keyof ExportCounts['refused'], call: () => Promise<void>): Promise<boolean> {
    try {
      await call()
      return true
    } catch (error) {
      if (!isSystemError(error, ...REFUSED)) throw error
      this.counts.refused[what] += 1
      return false
    }
  }

  #passOver(path: string): void {
    this.counts.notMadeCount += 1
    if (this.counts.notMade.length < MAX_LISTED) this.counts.notMade.push(path)
  }
}

/** Makes a missing directory. Resolves with whether it was missing. */
async function makeTarget(directory: string): Promise<boolean> {
  try {
    await mkdir(directory, { mode: PRIVATE_DIRECTORY })
    return true
  } catch (error) {
    if (!isSystemError(error, 'EEXIST')) throw asHoldfastError(error, `create ${JSON.stringify(directory)}`)
    if (!(await lstat(directory)).isDirectory()) {
      throw new RestoreDestinationNotEmptyError(`Cannot export to ${JSON.stringify(directory)}: it is not a directory`, {
        cause: error,
        hint: 'Name the directory itself, not a link to it, or one that does not exist yet',
      })
    }
    if ((await readdir(directory)).length > 0) {
      throw new RestoreDestinationNotEmptyError(`Cannot export to ${JSON.stringify(directory)}: it is not an empty directory`, {
        cause: error,
        hint: 'Name a directory that does not exist yet, or an empty one. If an export to it was killed, remove the partial tree first',
      })
    }
    return false
  }
}

/** Removes what a failed export made: all that is in a directory that was empty or missing. */
async function removeExport(directory: string, { isMade, error }: { readonly isMade: boolean; readonly error: unknown }): Promise<void> {
  if (isHoldfastError(error) && error.code === 'destination_path_conflict') throw new Error('something else writes there too')
  await removeEntries(directory)
  if (isMade) await rmdir(directory)
}

async function removeEntries(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) {
      // Its mode may be set already, and read-only. Where modes cannot be changed, the removal tells whether that matters.
      await chmod(path, PRIVATE_DIRECTORY).catch(() => undefined)
      await removeEntries(path)
      await rmdir(path)
    } else {
      await unlink(path)
    }
  }
}

/** The error for a directory in two places, or in itself: there would be no end of copies of it. */
function twice(path: string, { inode }: Inode): RecordInvalidError {
  return new RecordInvalidError(`Cannot export ${JSON.stringify(path)}: its directory, inode ${inode}, was exported already, in another place`, {
    hint: 'If the server moved it meanwhile, export again; otherwise find out more with "holdfast check", and export a backup, restored beside the store',
  })
}

/** Returns a name that cannot lead out of its directory, or throws. */
function checkName(name: string, directory: string): string {
  if (name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name)) return name
  throw new RecordInvalidError(`Cannot export an entry of ${JSON.stringify(directory)}: ${JSON.stringify(name)} is not a file name`)
}

function isMade(inode: Inode): boolean {
  return inode.type === 'file' || inode.type === 'symlink'
}

/** A catch handler that rethrows with the path in the message. */
function rethrowFor(path: string, action: string): (error: unknown) => never {
  return (error) => {
    throw asHoldfastError(error, `${action} ${JSON.stringify(path)}`)
  }
}

/** A time for `utimes`: seconds, half a microsecond up, because Node truncates to microseconds. */
function timeOf(ns: bigint): number | Date {
  if (ns < 0n) return new Date(Number(ns / 1_000_000n))
  return (Number(ns / 1000n) + 0.5) / 1e6
}
