/** Copies a file, or a directory with its content, from one metadata store into another. */
import { InternalError } from '../errors/errors.ts'
import type { Block, Content, Inode, InodeNumber, MetadataReader, MetadataStore, Place } from '../contracts/metadata-store.ts'
import { walkTree } from './walk-tree.ts'

export interface CopyTreeOptions {
  /** The store to read. It must not change meanwhile. */
  readonly from: MetadataReader
  readonly inode: InodeNumber
  readonly to: MetadataStore
  /** The place of the copy. The name must be free. */
  readonly place: Place
  /** Stops the copying. What was made by then stays. */
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((counts: TreeCounts) => void) | undefined
}

/** What is in a tree. */
export interface TreeCounts {
  files: number
  directories: number
  symlinks: number
  /** Sockets, fifos and devices. */
  others: number
  /** Further names of files that were counted already. */
  hardLinks: number
  /** Sum of the sizes of the files. */
  bytes: number
}

const COUNTED_AS: Readonly<Record<Inode['type'], Exclude<keyof TreeCounts, 'hardLinks' | 'bytes'>>> = {
  file: 'files',
  directory: 'directories',
  symlink: 'symlinks',
  fifo: 'others',
  socket: 'others',
  'block-device': 'others',
  'character-device': 'others',
}

/**
 * Copies types, attributes, times, extended attributes, link targets, and references to payloads. Inode numbers are new.
 * Hard links within the tree stay hard links. Locks and pending uploads are not copied.
 *
 * Memory grows with the number of inodes that have more names than were met so far.
 */
export async function copyTree(options: CopyTreeOptions): Promise<TreeCounts> {
  const copier = new TreeCopier(options)
  await copier.run()
  return copier.counts
}

class TreeCopier {
  readonly counts: TreeCounts = { files: 0, directories: 0, symlinks: 0, others: 0, hardLinks: 0, bytes: 0 }
  readonly #options: CopyTreeOptions
  /** The copies of inodes with several names, and how many names may still come. */
  readonly #linked = new Map<InodeNumber, { readonly copy: Promise<InodeNumber>; remaining: number }>()

  constructor(options: CopyTreeOptions) {
    this.#options = options
  }

  async run(): Promise<void> {
    const { from, inode, place } = this.#options
    const top = await this.#copyEntry(inode, place)
    if (this.counts.directories === 0) return
    await walkTree(from, { inode, top }, (entry, parent) => this.#copyEntry(entry.inode, { parent, name: entry.name }))
  }

  async #copyEntry(number: InodeNumber, place: Place): Promise<InodeNumber> {
    const { from, signal, onProgress } = this.#options
    signal?.throwIfAborted()
    const inode = await from.inode(number)
    if (inode === undefined) throw new InternalError(`Cannot copy ${JSON.stringify(place.name)}: its inode ${number} is missing`)
    const copy = inode.type === 'directory' || inode.links === 1 ? await this.#copyInode(inode, place) : await this.#copyLinked(inode, place)
    onProgress?.(this.counts)
    return copy
  }

  /** Copies an inode with several names: the first name makes the inode, the others link to it. */
  async #copyLinked(inode: Inode, place: Place): Promise<InodeNumber> {
    const known = this.#linked.get(inode.inode)
    if (known === undefined) {
      const copy = this.#copyInode(inode, place)
      // The await below throws the failure; every other waiter for this inode gets it too.
      copy.catch(() => undefined)
      this.#linked.set(inode.inode, { copy, remaining: inode.links - 1 })
      return await copy
    }
    known.remaining -= 1
    if (known.remaining === 0) this.#linked.delete(inode.inode)
    const copy = await known.copy
    await this.#options.to.link(place, copy)
    this.counts.hardLinks += 1
    return copy
  }

  async #copyInode(original: Inode, place: Place): Promise<InodeNumber> {
    const { inode: number, links: _links, payloadId, blockCount, ...attributes } = original
    const content: Content | undefined = payloadId !== undefined ? { payloadId } : blockCount > 0 ? { blocks: await this.#blocks(number) } : undefined
    const { inode } = await this.#options.to.create(place, { ...attributes, content })
    this.counts[COUNTED_AS[original.type]] += 1
    if (original.type === 'file') this.counts.bytes += original.size
    return inode
  }

  async #blocks(inode: InodeNumber): Promise<readonly Block[]> {
    const blocks: Block[] = []
    for await (const block of this.#options.from.blocks(inode)) blocks.push(block)
    return blocks
  }
}
