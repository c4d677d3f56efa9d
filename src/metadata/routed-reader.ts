/** The reading half of a store that passes every question on to another reader. */
import type { Block, ByteRangeLock, DirectoryPage, Inode, InodeNumber, MetadataReader, PendingUpload, Place, Share } from '../contracts/metadata-store.ts'

/** A reader whose subclass chooses the reader that answers each question. */
export abstract class RoutedReader implements MetadataReader {
  /** Runs one question. */
  protected abstract ask<T>(question: (reader: MetadataReader) => Promise<T>): Promise<T>
  /** Runs one question whose answer is an iteration, from its first step until it ends or is left. */
  protected abstract list<T>(question: (reader: MetadataReader) => AsyncIterable<T>): AsyncIterable<T>

  share(name: string): Promise<Share | undefined> {
    return this.ask((reader) => reader.share(name))
  }

  shares(): Promise<readonly Share[]> {
    return this.ask((reader) => reader.shares())
  }

  inode(inode: InodeNumber): Promise<Inode | undefined> {
    return this.ask((reader) => reader.inode(inode))
  }

  lookup(place: Place): Promise<Inode | undefined> {
    return this.ask((reader) => reader.lookup(place))
  }

  readDirectory(directory: InodeNumber, options?: { readonly after?: string | undefined; readonly limit?: number | undefined }): Promise<DirectoryPage> {
    return this.ask((reader) => reader.readDirectory(directory, options))
  }

  blocks(inode: InodeNumber): AsyncIterable<Block> {
    return this.list((reader) => reader.blocks(inode))
  }

  uploads(): AsyncIterable<PendingUpload> {
    return this.list((reader) => reader.uploads())
  }

  locks(inode: InodeNumber): Promise<readonly ByteRangeLock[]> {
    return this.ask((reader) => reader.locks(inode))
  }

  setting(name: string): Promise<string | undefined> {
    return this.ask((reader) => reader.setting(name))
  }

  settings(): Promise<ReadonlyMap<string, string>> {
    return this.ask((reader) => reader.settings())
  }

  usedBytes(): Promise<number> {
    return this.ask((reader) => reader.usedBytes())
  }

  payloadIds(): AsyncIterable<string> {
    return this.list((reader) => reader.payloadIds())
  }
}
