/** The reading half of a metadata store. Checks every argument, once for all stores. */
import type { Block, DirectoryPage, InodeNumber, MetadataReader } from '../contracts/metadata-store.ts'
import { type Fields, NUMBER, checkArgument, checkFields } from '../util/check-options.ts'
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
const PAGE: Fields<NonNullable<Parameters<MetadataReader['readDirectory']>[1]>> = { name: 'options', fields: { after: true, limit: true } }

export class ValidatedReader implements MetadataReader {
  readonly #reader: TreeReader

  constructor(reader: TreeReader) {
    this.#reader = reader
  }

  readonly share: MetadataReader['share'] = async (name) => await this.#reader.share(check.checkName(name, 'share name'))
  readonly shares: MetadataReader['shares'] = async () => await this.#reader.shares()
  readonly inode: MetadataReader['inode'] = async (inode) => await this.#reader.inode(check.checkInodeNumber(inode))
  readonly lookup: MetadataReader['lookup'] = async (place) => await this.#reader.lookup(check.checkPlace(place))
  readonly uploads: MetadataReader['uploads'] = () => this.#reader.uploads()
  readonly locks: MetadataReader['locks'] = async (inode) => await this.#reader.locks(check.checkInodeNumber(inode))
  readonly setting: MetadataReader['setting'] = async (name) => await this.#reader.setting(check.checkSettingName(name))
  readonly settings: MetadataReader['settings'] = async () => await this.#reader.settings()
  readonly usedBytes: MetadataReader['usedBytes'] = async () => await this.#reader.usedBytes()

  readonly readDirectory: MetadataReader['readDirectory'] = async (directory, options = {}) => {
    check.checkInodeNumber(directory)
    checkFields('readDirectory', options, PAGE)
    const { after, limit = DEFAULT_PAGE_ENTRIES } = options
    if (after !== undefined) check.checkName(after, 'cursor "after"')
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE_ENTRIES) {
      checkArgument('readDirectory', limit, { name: 'limit', kind: NUMBER })
      throw new RangeError(`Cannot read ${limit} directory entries at once: limit must be 1 to ${MAX_PAGE_ENTRIES}`)
    }
    return await this.#reader.readDirectory(directory, { after, limit })
  }

  blocks(inode: InodeNumber): AsyncIterable<Block> {
    return this.#reader.blocks(check.checkInodeNumber(inode))
  }

  payloadIds(): AsyncIterable<string> {
    return this.#reader.payloadIds()
  }
}
