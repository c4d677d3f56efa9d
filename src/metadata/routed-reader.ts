/** The reading half of a store that passes every question on to another reader. */
import type { MetadataReader } from '../contracts/metadata-store.ts'

/** A reader whose subclass chooses the reader that answers each question. */
export abstract class RoutedReader implements MetadataReader {
  /** Runs one question. */
  protected abstract ask<T>(question: (reader: MetadataReader) => Promise<T>): Promise<T>
  /** Runs one question whose answer is an iteration, from its first step until it ends or is left. */
  protected abstract list<T>(question: (reader: MetadataReader) => AsyncIterable<T>): AsyncIterable<T>

  readonly share: MetadataReader['share'] = (name) => this.ask((reader) => reader.share(name))
  readonly shares: MetadataReader['shares'] = () => this.ask((reader) => reader.shares())
  readonly inode: MetadataReader['inode'] = (inode) => this.ask((reader) => reader.inode(inode))
  readonly lookup: MetadataReader['lookup'] = (place) => this.ask((reader) => reader.lookup(place))
  readonly readDirectory: MetadataReader['readDirectory'] = (directory, options) => this.ask((reader) => reader.readDirectory(directory, options))
  readonly blocks: MetadataReader['blocks'] = (inode) => this.list((reader) => reader.blocks(inode))
  readonly uploads: MetadataReader['uploads'] = () => this.list((reader) => reader.uploads())
  readonly locks: MetadataReader['locks'] = (inode) => this.ask((reader) => reader.locks(inode))
  readonly setting: MetadataReader['setting'] = (name) => this.ask((reader) => reader.setting(name))
  readonly settings: MetadataReader['settings'] = () => this.ask((reader) => reader.settings())
  readonly usedBytes: MetadataReader['usedBytes'] = () => this.ask((reader) => reader.usedBytes())
  readonly payloadIds: MetadataReader['payloadIds'] = () => this.list((reader) => reader.payloadIds())
}
