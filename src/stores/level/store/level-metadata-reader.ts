/** Reads a metadata store from its records, as they are now or at one moment. */
import type { Block, DirectoryEntry, DirectoryPage, Inode, InodeNumber, Place, Share } from '../../../contracts/metadata-store.ts'
import { InternalError } from '../../../errors/errors.ts'
import { noSuchInode, quoted, requireDirectoryType, requireFileType } from '../../../metadata/refusals.ts'
import type { DirectoryRange, TreeReader } from '../../../metadata/validated-reader.ts'
import { readBlocks } from './contents.ts'
import * as keys from './keys.ts'
import * as nodes from './nodes.ts'
import { decodeRecord } from './record-check.ts'
import * as records from './records.ts'
import type { Source } from '../engine/text-database.ts'

export class LevelMetadataReader implements TreeReader {
  readonly #source: Source

  constructor(source: Source) {
    this.#source = source
  }

  readonly share: TreeReader['share'] = (name) => nodes.readShare(this.#source, name)
  readonly uploads: TreeReader['uploads'] = () => this.#source.viewEach(nodes.readUploads)
  readonly locks: TreeReader['locks'] = (inode) => nodes.readLocks(this.#source, inode)
  readonly setting: TreeReader['setting'] = (name) => nodes.readRecord(this.#source, keys.settingKey(name), records.decodeText)
  readonly usedBytes: TreeReader['usedBytes'] = async () => Number(await nodes.readUsedBytes(this.#source))

  async shares(): Promise<readonly Share[]> {
    const shares: Share[] = []
    for await (const [key, value] of this.#source.range(keys.sectionRange('shares'))) {
      shares.push({ name: keys.textOfKey(key), ...decodeRecord(key, value, records.decodeShare) })
    }
    return shares
  }

  async inode(inode: InodeNumber): Promise<Inode | undefined> {
    const record = await nodes.readInode(this.#source, inode)
    return record === undefined ? undefined : nodes.inodeOf(inode, record)
  }

  async lookup(place: Place): Promise<Inode | undefined> {
    return await this.#source.view(async (view) => {
      const entry = await nodes.readEntry(view, place)
      if (entry === undefined) return undefined
      const record = await nodes.readInode(view, entry.inode)
      if (record === undefined) throw new InternalError(`Cannot read ${quoted(place)}: its inode ${entry.inode} is missing`)
      return nodes.inodeOf(entry.inode, record)
    })
  }

  async readDirectory(directory: InodeNumber, { after, limit }: DirectoryRange): Promise<DirectoryPage> {
    return await this.#source.view(async (view) => {
      requireDirectoryType(directory, (await nodes.readInode(view, directory))?.type)
      const entries: DirectoryEntry[] = []
      for await (const [key, value] of view.range(keys.entriesOf(directory, after), { pageSize: limit + 1 })) {
        if (entries.length === limit) return { entries, cursor: entries.at(-1)?.name }
        entries.push({ name: keys.nameOfEntry(key), ...decodeRecord(key, value, records.decodeEntry) })
      }
      return { entries, cursor: undefined }
    })
  }

  blocks(inode: InodeNumber): AsyncIterable<Block> {
    return this.#source.viewEach(async function* (view) {
      const record = await nodes.readInode(view, inode)
      if (record === undefined) throw noSuchInode(inode)
      requireFileType({ inode, type: record.type })
      yield* readBlocks(view, { inode })
    })
  }

  async settings(): Promise<ReadonlyMap<string, string>> {
    const settings = new Map<string, string>()
    for await (const [key, value] of this.#source.range(keys.sectionRange('settings'))) {
      settings.set(keys.textOfKey(key), decodeRecord(key, value, records.decodeText))
    }
    return settings
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
