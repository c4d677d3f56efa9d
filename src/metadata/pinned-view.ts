/** A view that keeps its engine open. */
import type { ByteRangeLock, InodeNumber, ListedBlock, ListedEntry, ListedInode, MetadataReader, MetadataView } from '../contracts/metadata-store.ts'
import { RoutedReader } from './routed-reader.ts'

export class PinnedView extends RoutedReader implements MetadataView {
  readonly #view: MetadataView
  readonly #release: () => Promise<void>
  #closed: Promise<void> | undefined

  /** `release` is called once, when the view has been closed. */
  constructor(view: MetadataView, release: () => Promise<void>) {
    super()
    this.#view = view
    this.#release = release
  }

  nextInode(): Promise<InodeNumber> {
    return this.#view.nextInode()
  }

  inodes(): AsyncIterable<ListedInode> {
    return this.#view.inodes()
  }

  entries(): AsyncIterable<ListedEntry> {
    return this.#view.entries()
  }

  allBlocks(): AsyncIterable<ListedBlock> {
    return this.#view.allBlocks()
  }

  allLocks(): AsyncIterable<ByteRangeLock> {
    return this.#view.allLocks()
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  protected override ask<T>(question: (reader: MetadataReader) => Promise<T>): Promise<T> {
    return question(this.#view)
  }

  protected override list<T>(question: (reader: MetadataReader) => AsyncIterable<T>): AsyncIterable<T> {
    return question(this.#view)
  }

  async #close(): Promise<void> {
    try {
      await this.#view.close()
    } finally {
      await this.#release()
    }
  }
}
