/**
 * Indexes a local directory tree in a metadata store: names, types, modes, owners, times, link targets, hard
 * links, and content as payload IDs. Links are never followed. Extended attributes are left out: Node cannot read them.
 */
import { constants, type BigIntStats } from 'node:fs'
import { type FileHandle, lstat, open, readdir, readlink, realpath } from 'node:fs/promises'
import { isUtf8 } from 'node:buffer'
import { join, sep } from 'node:path'
import { undoOnError } from '../errors/clean-up.ts'
import { InvalidArgumentError, MetadataError } from '../errors/errors.ts'
import { checkName } from '../metadata/validate.ts'
import { isSystemError } from '../util/files.ts'
import type { Block, Content, InodeAttributes, InodeNumber, InodeType, MetadataStore, NewInode } from '../contracts/metadata-store.ts'
import { asHoldfastError } from '../util/system-errors.ts'
import type { WritablePayloadStore } from '../contracts/payload-store.ts'
import { payloadIdOf } from '../payload-stores/directory/index.ts'
import { clampTime } from '../metadata/validate.ts'
import { beginImport, removeUnfinishedImports } from './unfinished-imports.ts'
import { drainStack, forEachLimited } from '../util/in-parallel.ts'

/** Files up to this size are one payload; larger ones are a list of blocks of this size, the last one shorter. */
export const BLOCK_BYTES: number = 4 * 1024 * 1024

export interface ImportOptions {
  /** The directory to index. */
  readonly directory: string
  readonly store: MetadataStore
  /** The share to create; rejects with `entry_exists` when the store has it. */
  readonly share: string
  /** The store for content; without one, only payload IDs are recorded. */
  readonly payloads?: WritablePayloadStore | undefined
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((counts: ImportCounts) => void) | undefined
}

export interface ImportCounts {
  files: number
  directories: number
  symlinks: number
  /** Further names of counted files. */
  hardLinks: number
  /** Sockets, fifos and devices. */
  others: number
  /** Entries that disappeared before they were read. */
  vanished: number
  /** Bytes of content read. */
  bytes: number
  /**
   * Paths of entries with a time beyond the years 1677 to 2262, which became the nearest; at most `MAX_LISTED`, and `clampedCount` counts
   * all.
   */
  readonly clamped: string[]
  clampedCount: number
  /** Payloads that were not in the payload directory before, and their bytes. */
  newPayloads: number
  newPayloadBytes: number
}

/** The most paths that a count names. */
export const MAX_LISTED: number = 20

const DIRECTORIES_AT_ONCE = 4
const ENTRIES_AT_ONCE = 4
const ATTEMPTS = 3

/**
 * Imports a tree as a new share. A failed or aborted import removes its share; the next import removes the share of a killed one. One
 * import of a store runs at a time. Rejects, before anything is written, with `invalid_argument`, `not_a_directory`, and `entry_exists` for
 * a taken name.
 */
export async function importTree(options: ImportOptions): Promise<ImportCounts> {
  const { directory, store, share } = options
  checkName(share, 'share name')
  const stats = await lstat(await realpath(directory), { bigint: true })
  if (!stats.isDirectory()) throw notDirectory(directory)
  await removeUnfinishedImports(store)
  if ((await store.share(share)) !== undefined) {
    throw new MetadataError('entry_exists', `Cannot import as share ${JSON.stringify(share)}: the store has one of that name`, {
      hint: 'Name another share with --share, or remove that one first',
    })
  }
  await options.payloads?.removeAbandoned()
  const importer = new TreeImporter(options)
  const run = async (): Promise<void> => {
    const unfinished = await beginImport(store, share)
    const { root } = await store.createShare(share, { options: unfinished.options, root: importer.attributesOf(stats, directory) })
    await importer.run(root)
    await options.payloads?.sync()
    await unfinished.end()
  }
  await undoOnError(run, () => removeUnfinishedImports(store), 'the new share could not be removed; the next import removes it')
  return importer.counts
}

function notDirectory(path: string): MetadataError {
  return new MetadataError('not_a_directory', `Cannot import ${JSON.stringify(path)}: it is not a directory`, { hint: 'Name the directory to import' })
}

interface Directory {
  readonly path: string
  readonly inode: InodeNumber
}

/** An entry of a local directory, and its place in the store. */
interface Item {
  readonly path: string
  readonly parent: InodeNumber
  readonly name: string
}

class TreeImporter {
  readonly counts: ImportCounts = {
    files: 0,
    directories: 0,
    symlinks: 0,
    hardLinks: 0,
    others: 0,
    vanished: 0,
    bytes: 0,
    clamped: [],
    clampedCount: 0,
    newPayloads: 0,
    newPayloadBytes: 0,
  }
  readonly #options: ImportOptions
  /** Files with several names, by device and inode, and the number of names still to come. */
  readonly #linked = new Map<string, { readonly inode: Promise<InodeNumber>; remaining: number }>()

  constructor(options: ImportOptions) {
    this.#options = options
  }

  async run(root: InodeNumber): Promise<void> {
    const top = { path: this.#options.directory, inode: root }
    await drainStack<Directory>(top, DIRECTORIES_AT_ONCE, (directory, add) => this.#importDirectory(directory, add))
  }

  async #importDirectory(directory: Directory, add: (directory: Directory) => void): Promise<void> {
    const names = await readNames(directory.path)
    await forEachLimited(names, ENTRIES_AT_ONCE, async (name) => {
      this.#options.signal?.throwIfAborted()
      const item = { path: join(directory.path, name), parent: directory.inode, name }
      await this.#importItem(item, add).catch((error: unknown) => {
        if (!isSystemError(error, 'ENOENT') || error.path !== item.path) throw asHoldfastError(error, `import ${JSON.stringify(item.path)}`)
        this.counts.vanished += 1
      })
      this.#options.onProgress?.(this.counts)
    })
    this.counts.directories += 1
  }

  async #importItem(item: Item, add: (directory: Directory) => void): Promise<void> {
    const stats = await lstat(item.path, { bigint: true })
    if (stats.isDirectory()) {
      const { inode } = await this.#options.store.create(item, { type: 'directory', ...this.attributesOf(stats, item.path) })
      add({ path: item.path, inode })
    } else if (stats.nlink > 1n) {
      await this.#importLinked(item, stats)
    } else {
      await this.#importLeaf(item, stats)
    }
  }

  /** Creates the inode for the first of several names, and links the others to it. */
  async #importLinked(item: Item, stats: BigIntStats): Promise<void> {
    const key = `${stats.dev}:${stats.ino}`
    const known = this.#linked.get(key)
    if (known === undefined) {
      const inode = this.#importLeaf(item, stats)
      // The await below throws the failure; later names of the file see it too.
      inode.catch(() => undefined)
      this.#linked.set(key, { inode, remaining: Number(stats.nlink) - 1 })
      await inode
      return
    }
    known.remaining -= 1
    if (known.remaining === 0) this.#linked.delete(key)
    await this.#options.store.link(item, await known.inode)
    this.counts.hardLinks += 1
  }

  async #importLeaf(item: Item, stats: BigIntStats): Promise<InodeNumber> {
    const { store } = this.#options
    if (stats.isFile()) {
      const file = await this.#readFile(item.path)
      this.counts.files += 1
      return (await store.create(item, file)).inode
    }
    const leaf: NewInode = stats.isSymbolicLink()
      ? { type: 'symlink', ...this.attributesOf(stats, item.path), size: Number(stats.size), symlinkTarget: await readTarget(item.path) }
      : { type: specialTypeOf(stats), ...this.attributesOf(stats, item.path) }
    if (leaf.type === 'symlink') this.counts.symlinks += 1
    else this.counts.others += 1
    return (await store.create(item, leaf)).inode
  }

  /** The attributes of an entry. The path is counted when a time of it is not one that a store can hold. */
  attributesOf(stats: BigIntStats, path: string): Omit<InodeAttributes, 'size' | 'xattrs'> {
    const { atimeNs, mtimeNs, ctimeNs, birthtimeNs } = stats
    const [accessedAtNs, modifiedAtNs, changedAtNs, createdAtNs] = [clampTime(atimeNs), clampTime(mtimeNs), clampTime(ctimeNs), clampTime(birthtimeNs)]
    if (accessedAtNs !== atimeNs || modifiedAtNs !== mtimeNs || changedAtNs !== ctimeNs || createdAtNs !== birthtimeNs) {
      this.counts.clampedCount += 1
      if (this.counts.clamped.length < MAX_LISTED) this.counts.clamped.push(path)
    }
    return { mode: Number(stats.mode) & 0o7777, uid: Number(stats.uid), gid: Number(stats.gid), accessedAtNs, modifiedAtNs, changedAtNs, createdAtNs }
  }

  /** Reads a file's content and attributes at one time. Rejects for a file that keeps changing. */
  async #readFile(path: string): Promise<NewInode> {
    const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    try {
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const before = await handle.stat({ bigint: true })
        if (!before.isFile()) break
        const blocks = await this.#readBlocks(handle, Number(before.size))
        const after = await handle.stat({ bigint: true })
        if (blocks === undefined || before.mtimeNs !== after.mtimeNs || before.size !== after.size) continue
        return { type: 'file', ...this.attributesOf(before, path), size: Number(before.size), content: contentOf(blocks) }
      }
    } finally {
      await handle.close()
    }
    throw new InvalidArgumentError(`Cannot import ${JSON.stringify(path)}: it changed during each of ${ATTEMPTS} reads`, {
      hint: 'Stop the program that writes to the tree, then import again',
    })
  }

  /** Reads `size` bytes as blocks and stores them; `undefined` when the file turns out shorter. */
  async #readBlocks(handle: FileHandle, size: number): Promise<Block[] | undefined> {
    const blocks: Block[] = []
    for (let position = 0; position < size; position += BLOCK_BYTES) {
      this.#options.signal?.throwIfAborted()
      const bytes = await readFully(handle, position, Math.min(BLOCK_BYTES, size - position))
      if (bytes === undefined) return undefined
      blocks.push({ payloadId: await this.#keep(bytes), offset: 0, bytes: bytes.byteLength })
      this.counts.bytes += bytes.byteLength
    }
    return blocks
  }

  async #keep(bytes: Uint8Array): Promise<string> {
    const payloadId = payloadIdOf(bytes)
    if (await this.#options.payloads?.put(payloadId, bytes)) {
      this.counts.newPayloads += 1
      this.counts.newPayloadBytes += bytes.byteLength
    }
    return payloadId
  }
}

/** The names in a directory, sorted. Rejects for a name that is not UTF-8, because the store holds names as text. */
async function readNames(path: string): Promise<string[]> {
  const names = await readdir(path, { encoding: 'buffer' })
  return names.map((name) => decodeText(name, `the name of an entry of ${JSON.stringify(path)}`)).sort()
}

async function readTarget(path: string): Promise<string> {
  return decodeText(await readlink(path, { encoding: 'buffer' }), `the target of ${JSON.stringify(path)}`)
}

function decodeText(bytes: Buffer, what: string): string {
  if (isUtf8(bytes)) return bytes.toString()
  throw new InvalidArgumentError(`Cannot import ${what}: ${JSON.stringify(bytes.toString('latin1'))} is not UTF-8`, {
    hint: 'Rename it, then import the tree again',
  })
}

async function readFully(handle: FileHandle, position: number, length: number): Promise<Uint8Array | undefined> {
  const buffer = Buffer.allocUnsafeSlow(length)
  for (let filled = 0; filled < length; ) {
    const { bytesRead } = await handle.read(buffer, filled, length - filled, position + filled)
    if (bytesRead === 0) return undefined
    filled += bytesRead
  }
  return buffer
}

function contentOf(blocks: readonly Block[]): Content | undefined {
  const [first] = blocks
  if (first === undefined) return undefined
  return blocks.length === 1 ? { payloadId: first.payloadId } : { blocks }
}

function specialTypeOf(stats: BigIntStats): InodeType {
  if (stats.isFIFO()) return 'fifo'
  if (stats.isSocket()) return 'socket'
  return stats.isBlockDevice() ? 'block-device' : 'character-device'
}

/**
 * Checks the name of the share, that a path is a directory, and that it contains none of the paths that the import writes to. Creates
 * nothing. Rejects with `invalid_argument`, `entry_not_found` and `not_a_directory`.
 */
export async function checkImport(directory: string, { share, writesTo }: { readonly share: string; readonly writesTo: readonly string[] }): Promise<void> {
  checkName(share, 'share name')
  const root = await realpath(directory).catch((error: unknown) => {
    if (!isSystemError(error, 'ENOENT', 'ENOTDIR')) throw error
    throw new MetadataError('entry_not_found', `Cannot import ${JSON.stringify(directory)}: there is no such directory`, { cause: error, hint: 'Check the path' })
  })
  if (!(await lstat(root)).isDirectory()) throw notDirectory(directory)
  for (const path of writesTo) {
    const real = await realExisting(path)
    if (real !== root && !real.startsWith(root.endsWith(sep) ? root : `${root}${sep}`)) continue
    throw new InvalidArgumentError(`Cannot import ${JSON.stringify(directory)}: it contains ${JSON.stringify(path)}, which the import writes to`, {
      hint: 'Keep the store and the payloads outside the tree',
    })
  }
}

/** The real path of a path whose last parts may not exist yet. */
async function realExisting(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    const parent = join(path, '..')
    if (!isSystemError(error, 'ENOENT') || parent === path) throw error
    return join(await realExisting(parent), path.slice(parent.length))
  }
}
