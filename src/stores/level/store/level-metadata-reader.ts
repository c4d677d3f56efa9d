import type { Block, ByteRangeLock, DirectoryEntry, DirectoryPage, Inode, InodeNumber, MetadataReader, PendingUpload, Place, Share } from '../../../contracts/metadata-store.ts'
import * as check from '../../../metadata/validate.ts'
import { blocksOfInode, readBlocks } from './contents.ts'
import * as keys from './keys.ts'
import * as nodes from './nodes.ts'
import { decodeRecord } from './record-check.ts'
import * as records from './records.ts'
import type { Source } from '../engine/text-database.ts'
import * as tree from './tree.ts'
import * as uploads from './uploads.ts'

const DEFAULT_PAGE_ENTRIES = 1000
const MAX_PAGE_ENTRIES = 10_000

/** The reading half of a metadata store, of a database or of one instant of it. */
export class LevelMetadataReader implements MetadataReader {
  readonly #source: Source

  constructor(source: Source) {
    this.#source = source
  }

  async share(name: string): Promise<Share | undefined> {
    return await tree.readShare(this.#source, check.checkName(name, 'share name'))
  }

  async shares(): Promise<readonly Share[]> {
    const shares: Share[] = []
    for await (const [key, value] of this.#source.range(keys.sectionRange('shares'))) {
      shares.push({ name: keys.textOfKey(key), ...decodeRecord(key, value, records.decodeShare) })
    }
    return shares
  }

  async inode(inode: InodeNumber): Promise<Inode | undefined> {
    const record = await nodes.readInode(this.#source, check.checkInodeNumber(inode))
    return record === undefined ? undefined : nodes.inodeOf(inode, record)
  }

  async lookup(place: Place): Promise<Inode | undefined> {
    check.checkPlace(place)
    return await this.#source.view(async (view) => {
      const entry = await nodes.readEntry(view, place)
      return entry === undefined ? undefined : nodes.inodeOf(entry.inode, await nodes.inodeOfEntry(view, place, entry))
    })
  }

  async readDirectory(
    directory: InodeNumber,
    { after, limit = DEFAULT_PAGE_ENTRIES }: { readonly after?: string | undefined; readonly limit?: number | undefined } = {},
  ): Promise<DirectoryPage> {
    check.checkInodeNumber(directory)
    if (after !== undefined) check.checkName(after, 'cursor')
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE_ENTRIES) {
      throw new RangeError(`Cannot read ${limit} directory entries at a time: the limit is 1 to ${MAX_PAGE_ENTRIES}`)
    }
    return await this.#source.view(async (view) => {
      await nodes.requireDirectory(view, directory)
      const entries: DirectoryEntry[] = []
      for await (const [key, value] of view.range(keys.entriesOf(directory, after), { pageSize: limit + 1 })) {
        if (entries.length === limit) return { entries, cursor: entries.at(-1)?.name }
        entries.push({ name: keys.nameOfEntry(key), ...decodeRecord(key, value, records.decodeEntry) })
      }
      return { entries, cursor: undefined }
    })
  }

  blocks(inode: InodeNumber): AsyncIterable<Block> {
    check.checkInodeNumber(inode)
    return this.#source.viewEach(async function* (view) {
      await tree.requireFile(view, inode)
      yield* readBlocks(view, blocksOfInode(inode))
    })
  }

  uploads(): AsyncIterable<PendingUpload> {
    return this.#source.viewEach(uploads.readUploads)
  }

  async locks(inode: InodeNumber): Promise<readonly ByteRangeLock[]> {
    return await uploads.readLocks(this.#source, check.checkInodeNumber(inode))
  }

  async setting(name: string): Promise<string | undefined> {
    const key = keys.settingKey(check.checkSettingName(name))
    const value = await this.#source.get(key)
    return value === undefined ? undefined : decodeRecord(key, value, records.decodeText)
  }

  async settings(): Promise<ReadonlyMap<string, string>> {
    const settings = new Map<string, string>()
    for await (const [key, value] of this.#source.range(keys.sectionRange('settings'))) {
      settings.set(keys.textOfKey(key), decodeRecord(key, value, records.decodeText))
    }
    return settings
  }

  async usedBytes(): Promise<number> {
    return Number(await nodes.readUsedBytes(this.#source))
  }

  async *payloadIds(): AsyncGenerator<string, void, undefined> {
    let last: string | undefined
    for await (const [key, value] of this.#source.range(keys.sectionRange('references'))) {
      const payloadId = decodeRecord(key, value, () => keys.payloadIdOfReference(key))
      if (payloadId !== last) yield payloadId
      last = payloadId
    }
  }
}
