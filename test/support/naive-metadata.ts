/** A metadata store made as simply as can be, to hold a real one against: maps, and everything counted anew at every question. Arguments are valid. */
import { MetadataError, InvalidArgumentError, type MetadataErrorCode } from '../../src/errors/errors.ts'
import type { Block, ByteRangeLock, Content, InodeNumber, PendingUpload, Place, RenameMode } from '../../src/contracts/metadata-store.ts'

interface NaiveInode {
  readonly type: 'file' | 'directory' | 'symlink'
  size: number
  mode: number
  content: Content | undefined
  readonly entries: Map<string, InodeNumber>
  /** One for each byte of the few first. */
  locks: ByteRangeLock[]
}

export interface NaiveNew {
  readonly type: NaiveInode['type']
  readonly size: number
  readonly mode: number
  readonly content: Content | undefined
}

export class NaiveMetadata {
  readonly inodes: Map<InodeNumber, NaiveInode> = new Map()
  readonly shares: Map<string, InodeNumber> = new Map()
  readonly uploads: Map<string, PendingUpload> = new Map()
  readonly settings: Map<string, string> = new Map()
  /** The number of the next inode. */
  next = 1

  createShare(name: string): void {
    if (this.shares.has(name)) fail('entry_exists')
    this.shares.set(name, this.#add({ type: 'directory', size: 0, mode: 0o755, content: undefined }))
  }

  removeShare(name: string): void {
    const root = this.shares.get(name) ?? fail('entry_not_found')
    if (this.#get(root).entries.size > 0) fail('directory_not_empty')
    this.shares.delete(name)
    this.inodes.delete(root)
  }

  create({ parent, name }: Place, inode: NaiveNew): void {
    const entries = this.#directory(parent)
    if (entries.has(name)) fail('entry_exists')
    entries.set(name, this.#add(inode))
  }

  link({ parent, name }: Place, inode: InodeNumber): void {
    if (this.#get(inode).type === 'directory') fail('is_a_directory')
    const entries = this.#directory(parent)
    if (entries.has(name)) fail('entry_exists')
    entries.set(name, inode)
  }

  unlink({ parent, name }: Place): void {
    const entries = this.#directory(parent)
    const inode = entries.get(name) ?? fail('entry_not_found')
    if (this.#get(inode).entries.size > 0) fail('directory_not_empty')
    entries.delete(name)
    if (this.names(inode) === 0) this.inodes.delete(inode)
  }

  rename(from: Place, to: Place, existing: RenameMode = 'replace'): void {
    const source = this.#directory(from.parent)
    const inode = source.get(from.name) ?? fail('entry_not_found')
    const target = this.#directory(to.parent)
    const replaced = target.get(to.name)
    if (existing === 'refuse' && replaced !== undefined) fail('entry_exists')
    if (existing === 'exchange' && replaced === undefined) fail('entry_not_found')
    if (replaced === inode) return
    const isDirectory = this.#get(inode).type === 'directory'
    if (isDirectory && this.#isWithin(to.parent, inode)) throw new InvalidArgumentError('Own descendant')
    if (existing === 'exchange' && replaced !== undefined) {
      if (this.#get(replaced).type === 'directory' && this.#isWithin(from.parent, replaced)) throw new InvalidArgumentError('Own descendant')
      source.set(from.name, replaced)
      target.set(to.name, inode)
      return
    }
    if (replaced !== undefined) {
      const other = this.#get(replaced)
      if (isDirectory !== (other.type === 'directory')) fail(isDirectory ? 'not_a_directory' : 'is_a_directory')
      this.unlink(to)
    }
    source.delete(from.name)
    target.set(to.name, inode)
  }

  setAttributes(inode: InodeNumber, { size, mode }: { readonly size: number; readonly mode: number }): void {
    Object.assign(this.#get(inode), { size, mode })
  }

  setContent(inode: InodeNumber, content: Content | undefined, size: number): void {
    Object.assign(this.#file(inode), { content, size })
  }

  putUpload(upload: PendingUpload): void {
    this.#directory(upload.parent)
    this.uploads.set(upload.uploadId, upload)
  }

  completeUpload(uploadId: string): void {
    const { parent, name, blocks } = this.uploads.get(uploadId) ?? fail('entry_not_found')
    this.create({ parent, name }, { type: 'file', size: blocks.reduce((sum, { bytes }) => sum + bytes, 0), mode: 0o644, content: { blocks } })
    this.uploads.delete(uploadId)
  }

  removeUpload(uploadId: string): void {
    if (!this.uploads.delete(uploadId)) fail('entry_not_found')
  }

  lock(lock: ByteRangeLock): void {
    const file = this.#file(lock.inode)
    const bytes = bytesOf(lock)
    const others = file.locks.filter((other) => other.owner !== lock.owner && bytes.includes(other.start))
    if (others.some((other) => other.kind === 'exclusive' || lock.kind === 'exclusive')) fail('lock_conflict')
    this.unlock(lock)
    file.locks.push(...bytes.map((start) => ({ ...lock, start, end: start + 1 })))
  }

  unlock(range: Omit<ByteRangeLock, 'kind'>): void {
    const inode = this.inodes.get(range.inode)
    if (inode !== undefined) inode.locks = inode.locks.filter((lock) => lock.owner !== range.owner || !bytesOf(range).includes(lock.start))
  }

  setSetting(name: string, value: string | undefined): void {
    if (value === undefined) this.settings.delete(name)
    else this.settings.set(name, value)
  }

  /** How many entries name an inode. */
  names(inode: InodeNumber): number {
    return [...this.inodes.values()].flatMap(({ entries }) => [...entries.values()]).filter((entry) => entry === inode).length
  }

  payloadIds(): string[] {
    const blocks = [...this.inodes.values()].flatMap(({ content }) => blocksIn(content))
    for (const upload of this.uploads.values()) blocks.push(...upload.blocks)
    return [...new Set(blocks.map(({ payloadId }) => payloadId))].toSorted()
  }

  usedBytes(): number {
    return [...this.inodes.values()].reduce((sum, { type, size }) => sum + (type === 'file' ? size : 0), 0)
  }

  #add(inode: NaiveNew): InodeNumber {
    this.inodes.set(this.next, { ...inode, entries: new Map(), locks: [] })
    return this.next++
  }

  #get(inode: InodeNumber): NaiveInode {
    return this.inodes.get(inode) ?? fail('entry_not_found')
  }

  #directory(inode: InodeNumber): Map<string, InodeNumber> {
    const { type, entries } = this.#get(inode)
    return type === 'directory' ? entries : fail('not_a_directory')
  }

  #file(inode: InodeNumber): NaiveInode {
    const found = this.#get(inode)
    if (found.type === 'directory') fail('is_a_directory')
    if (found.type !== 'file') throw new InvalidArgumentError('No file')
    return found
  }

  #isWithin(directory: InodeNumber, ancestor: InodeNumber): boolean {
    if (directory === ancestor) return true
    return [...this.#get(ancestor).entries.values()].some((entry) => this.inodes.get(entry)?.type === 'directory' && this.#isWithin(directory, entry))
  }
}

/** The bytes of a range that this store has an eye on. */
export const NAIVE_BYTES = 12

function bytesOf({ start, end = NAIVE_BYTES }: Pick<ByteRangeLock, 'start' | 'end'>): number[] {
  return Array.from({ length: Math.max(0, end - start) }, (_, at) => start + at)
}

function blocksIn(content: Content | undefined): Pick<Block, 'payloadId'>[] {
  if (content === undefined) return []
  return 'payloadId' in content ? [content] : [...content.blocks]
}

function fail(code: MetadataErrorCode): never {
  throw new MetadataError(code, `Cannot do that: ${code}`)
}
