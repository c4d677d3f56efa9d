/** The reading half of a metadata store. Checks every argument, once for all stores. */
import type { Block, ByteRangeLock, DirectoryPage, Inode, InodeNumber, MetadataReader, PendingUpload, Place, Share } from '../contracts/metadata-store.ts'
import * as check from './validate.ts'

/** What a store implements. Arguments are checked and complete. */
export interface TreeReader extends Omit<MetadataReader, 'readDirectory'> {
  readDirectory(directory: InodeNumber, page: DirectoryRange): Promise<DirectoryPage>
}

export interface DirectoryRange {
  /** The name after which to continue. */
  readonly after: string | undefined
  readonly limit: number
}

const DEFAULT_PAGE_ENTRIES = 1000
const MAX_PAGE_ENTRIES = 10_000

export class ValidatedReader implements MetadataReader {
  readonly #reader: TreeReader

  constructor(reader: TreeReader) {
    this.#reader = reader
  }

  async share(name: string): Promise<Share | undefined> {
    return await this.#reader.share(check.checkName(name, 'share name'))
  }

  async shares(): Promise<readonly Share[]> {
    return await this.#reader.shares()
  }

  async inode(inode: InodeNumber): Promise<Inode | undefined> {
    return await this.#reader.inode(check.checkInodeNumber(inode))
  }

  async lookup(place: Place): Promise<Inode | undefined> {
    return await this.#reader.lookup(check.checkPlace(place))
  }

  async readDirectory(
    directory: InodeNumber,
    { after, limit = DEFAULT_PAGE_ENTRIES }: { readonly after?: string | undefined; readonly limit?: number | undefined } = {},
  ): Promise<DirectoryPage> {
    check.checkInodeNumber(directory)
    if (after !== undefined) check.checkName(after, 'cursor')
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE_ENTRIES) {
      throw new RangeError(`Cannot read ${limit} directory entries at once: limit must be 1 to ${MAX_PAGE_ENTRIES}`)
    }
    return await this.#reader.readDirectory(directory, { after, limit })
  }

  blocks(inode: InodeNumber): AsyncIterable<Block> {
    return this.#reader.blocks(check.checkInodeNumber(inode))
  }

  uploads(): AsyncIterable<PendingUpload> {
    return this.#reader.uploads()
  }

  async locks(inode: InodeNumber): Promise<readonly ByteRangeLock[]> {
    return await this.#reader.locks(check.checkInodeNumber(inode))
  }

  async setting(name: string): Promise<string | undefined> {
    return await this.#reader.setting(check.checkSettingName(name))
  }

  async settings(): Promise<ReadonlyMap<string, string>> {
    return await this.#reader.settings()
  }

  async usedBytes(): Promise<number> {
    return await this.#reader.usedBytes()
  }

  payloadIds(): AsyncIterable<string> {
    return this.#reader.payloadIds()
  }
}
