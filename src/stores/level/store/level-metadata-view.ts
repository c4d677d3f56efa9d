import type { ByteRangeLock, InodeNumber, ListedBlock, ListedEntry, ListedInode, MetadataView } from '../../../contracts/metadata-store.ts'
import { ValidatedReader } from '../../../metadata/validated-reader.ts'
import { CHUNKS_PER_PAGE } from './contents.ts'
import * as keys from './keys.ts'
import { LevelMetadataReader } from './level-metadata-reader.ts'
import * as nodes from './nodes.ts'
import { decodeRecord } from './record-check.ts'
import * as records from './records.ts'
import type { DatabaseSnapshot } from '../engine/text-database.ts'

/** A metadata store as it was when a snapshot of its database was taken. */
export class LevelMetadataView extends ValidatedReader implements MetadataView {
  readonly #snapshot: DatabaseSnapshot

  /** Takes the snapshot over. */
  constructor(snapshot: DatabaseSnapshot) {
    super(new LevelMetadataReader(snapshot))
    this.#snapshot = snapshot
  }

  async nextInode(): Promise<InodeNumber> {
    return await nodes.readNextInode(this.#snapshot)
  }

  async *inodes(): AsyncGenerator<ListedInode, void, undefined> {
    for await (const [key, value] of this.#snapshot.range(keys.sectionRange('inodes'))) {
      const record = decodeRecord(key, value, records.decodeInode)
      yield { ...nodes.inodeOf(keys.inodeOfKey(key), record), parent: record.parent }
    }
  }

  async *entries(): AsyncGenerator<ListedEntry, void, undefined> {
    for await (const [key, value] of this.#snapshot.range(keys.sectionRange('entries'))) {
      yield { parent: keys.inodeOfKey(key), name: keys.nameOfEntry(key), ...decodeRecord(key, value, records.decodeEntry) }
    }
  }

  async *allBlocks(): AsyncGenerator<ListedBlock, void, undefined> {
    for await (const [key, value] of this.#snapshot.range(keys.sectionRange('blocks'), { pageSize: CHUNKS_PER_PAGE })) {
      const inode = keys.inodeOfKey(key)
      for (const block of decodeRecord(key, value, records.decodeBlocks)) yield { inode, ...block }
    }
  }

  async *allLocks(): AsyncGenerator<ByteRangeLock, void, undefined> {
    for await (const [key, value] of this.#snapshot.range(keys.sectionRange('locks'))) {
      yield { inode: keys.inodeOfKey(key), ...keys.rangeOfLock(key), ...decodeRecord(key, value, records.decodeLock) }
    }
  }

  async close(): Promise<void> {
    await this.#snapshot.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
