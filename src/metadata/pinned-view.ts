/** A view that keeps its engine open. */
import type { MetadataReader, MetadataView } from '../contracts/metadata-store.ts'
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

  readonly nextInode: MetadataView['nextInode'] = () => this.#view.nextInode()
  readonly inodes: MetadataView['inodes'] = () => this.#view.inodes()
  readonly entries: MetadataView['entries'] = () => this.#view.entries()
  readonly allBlocks: MetadataView['allBlocks'] = () => this.#view.allBlocks()
  readonly allLocks: MetadataView['allLocks'] = () => this.#view.allLocks()

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
