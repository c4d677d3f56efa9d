import type { Block, ByteRangeLock, InodeNumber, ListedBlock, ListedEntry, ListedInode, MetadataView } from '../../metadata/metadata-store.ts'
import { checkInodeNumber } from '../../metadata/validate.ts'
import { PostgresMetadataReader } from './postgres-metadata-reader.ts'
import { readBlocks } from './store/contents.ts'
import type { Instant } from './store/instant.ts'
import * as lists from './store/lists.ts'

/** A metadata store as it was when a transaction began. */
export class PostgresMetadataView extends PostgresMetadataReader implements MetadataView {
  readonly #instant: Instant

  /** The instant is the view's from then on. */
  constructor(instant: Instant) {
    super(instant)
    this.#instant = instant
  }

  /** One iteration from its first query to its last: `close` waits for all of it. */
  override blocks(inode: InodeNumber): AsyncIterable<Block> {
    checkInodeNumber(inode)
    return this.#instant.view((view) => readBlocks(view, inode))
  }

  async nextInode(): Promise<InodeNumber> {
    return await this.#instant.nextInode()
  }

  inodes(): AsyncIterable<ListedInode> {
    return this.#instant.view(lists.eachInode)
  }

  entries(): AsyncIterable<ListedEntry> {
    return this.#instant.view(lists.eachEntry)
  }

  allBlocks(): AsyncIterable<ListedBlock> {
    return this.#instant.view(lists.eachBlock)
  }

  allLocks(): AsyncIterable<ByteRangeLock> {
    return this.#instant.view(lists.eachLock)
  }

  async close(): Promise<void> {
    await this.#instant.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
