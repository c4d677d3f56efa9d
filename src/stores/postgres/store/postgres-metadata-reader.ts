import type {
  Block,
  ByteRangeLock,
  DirectoryPage,
  Inode,
  InodeNumber,
  InodeType,
  MetadataReader,
  PendingUpload,
  Place,
  Share,
} from '../../../contracts/metadata-store.ts'
import * as check from '../../../metadata/validate.ts'
import type { ReadSource } from './connection.ts'
import { readBlocks } from './contents.ts'
import { readLocks } from './locks.ts'
import * as nodes from './nodes.ts'
import { type InodeRow, type ShareRow, INODE_COLUMNS, SHARE_COLUMNS, inodeOf, shareOf } from './rows.ts'
import { eachUpload } from './uploads.ts'

const DEFAULT_PAGE_ENTRIES = 1000
const MAX_PAGE_ENTRIES = 10_000
/** The reading half of a metadata store in a schema: as it is at each call, or at one instant, as its source has it. */
export class PostgresMetadataReader implements MetadataReader {
  readonly #source: ReadSource

  constructor(source: ReadSource) {
    this.#source = source
  }

  async share(name: string): Promise<Share | undefined> {
    check.checkName(name, 'share name')
    const [row] = await this.#source.rows<ShareRow>(`SELECT ${SHARE_COLUMNS} FROM ${this.#source.tables.shares} WHERE name = $1`, [name])
    return row === undefined ? undefined : shareOf(row)
  }

  async shares(): Promise<readonly Share[]> {
    const rows = await this.#source.rows<ShareRow>(`SELECT ${SHARE_COLUMNS} FROM ${this.#source.tables.shares} ORDER BY name`)
    return rows.map(shareOf)
  }

  async inode(inode: InodeNumber): Promise<Inode | undefined> {
    check.checkInodeNumber(inode)
    const [row] = await this.#source.rows<InodeRow>(`SELECT ${INODE_COLUMNS} FROM ${this.#source.tables.inodes} i WHERE i.inode = $1`, [inode])
    return row === undefined ? undefined : inodeOf(row)
  }

  async lookup(place: Place): Promise<Inode | undefined> {
    check.checkPlace(place)
    const { inodes, entries } = this.#source.tables
    const [row] = await this.#source.rows<InodeRow>(`SELECT ${INODE_COLUMNS} FROM ${entries} e JOIN ${inodes} i USING (inode) WHERE e.parent = $1 AND e.name = $2`, [
      place.parent,
      place.name,
    ])
    return row === undefined ? undefined : inodeOf(row)
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
    const { inodes, entries } = this.#source.tables
    const rows = await this.#source.rows<{ directory_type: InodeType; name: string | null; inode: unknown; type: InodeType }>(
      `SELECT d.type AS directory_type, e.name, e.inode, e.type FROM ${inodes} d
       LEFT JOIN LATERAL (SELECT name, inode, type FROM ${entries} WHERE parent = $1 AND name > $2 ORDER BY name LIMIT $3) e ON true
       WHERE d.inode = $1 ORDER BY e.name`,
      [directory, after ?? '', limit + 1],
    )
    const [first] = rows
    if (first === undefined) throw nodes.noSuchInode(directory)
    if (first.directory_type !== 'directory') throw nodes.noDirectory(directory, first.directory_type)
    const page = rows.slice(0, limit).flatMap(({ name, inode, type }) => (name === null ? [] : [{ name, inode: Number(inode), type }]))
    return { entries: page, cursor: rows.length > limit ? page.at(-1)?.name : undefined }
  }

  blocks(inode: InodeNumber): AsyncIterable<Block> {
    check.checkInodeNumber(inode)
    return readBlocks(this.#source, inode)
  }

  uploads(): AsyncIterable<PendingUpload> {
    return this.#source.iterate(eachUpload)
  }

  async locks(inode: InodeNumber): Promise<readonly ByteRangeLock[]> {
    check.checkInodeNumber(inode)
    return await readLocks(this.#source, inode)
  }

  async setting(name: string): Promise<string | undefined> {
    check.checkSettingName(name)
    const [row] = await this.#source.rows<{ value: string }>(`SELECT value FROM ${this.#source.tables.settings} WHERE name = $1`, [name])
    return row?.value
  }

  async settings(): Promise<ReadonlyMap<string, string>> {
    const rows = await this.#source.rows<{ name: string; value: string }>(`SELECT name, value FROM ${this.#source.tables.settings} ORDER BY name`)
    return new Map(rows.map(({ name, value }) => [name, value]))
  }

  async usedBytes(): Promise<number> {
    const [row] = await this.#source.rows<{ bytes: string }>(`SELECT coalesce(sum(bytes), 0)::text AS bytes FROM ${this.#source.tables.used_bytes}`)
    return Number(row?.bytes)
  }

  payloadIds(): AsyncIterable<string> {
    const { inodes, blocks, upload_blocks: uploadBlocks } = this.#source.tables
    const query = `SELECT payload_id FROM (
        SELECT payload_id FROM ${inodes} UNION ALL SELECT payload_id FROM ${blocks} UNION ALL SELECT payload_id FROM ${uploadBlocks}
      ) AS given WHERE payload_id IS NOT NULL ORDER BY payload_id`
    return this.#source.iterate(async function* (view) {
      let last: string | undefined
      for await (const { payload_id: payloadId } of view.each<{ payload_id: string }>(query)) {
        if (payloadId !== last) yield payloadId
        last = payloadId
      }
    })
  }
}
