/** Reads a metadata store from its tables: as they are at each call, or at one instant, as its source has it. */
import type { Block, ByteRangeLock, DirectoryPage, Inode, InodeNumber, InodeType, PendingUpload, Place, Share } from '../../../contracts/metadata-store.ts'
import { requireDirectoryType } from '../../../metadata/refusals.ts'
import type { DirectoryRange, TreeReader } from '../../../metadata/validated-reader.ts'
import type { ReadSource, TablePaths, View } from './queries.ts'
import { allBlocks, readBlocks } from './contents.ts'
import { type InodeRow, type ShareRow, INODE_COLUMNS, SHARE_COLUMNS, inodeOf, readLocks, shareOf } from './rows.ts'

export class PostgresMetadataReader implements TreeReader {
  readonly #source: ReadSource
  readonly #tables: TablePaths

  constructor(source: ReadSource) {
    this.#source = source
    this.#tables = source.tables
  }

  async share(name: string): Promise<Share | undefined> {
    const [row] = await this.#source.rows<ShareRow>(`SELECT ${SHARE_COLUMNS} FROM ${this.#tables.shares} WHERE name = $1`, [name])
    return row === undefined ? undefined : shareOf(row)
  }

  async shares(): Promise<readonly Share[]> {
    const rows = await this.#source.rows<ShareRow>(`SELECT ${SHARE_COLUMNS} FROM ${this.#tables.shares} ORDER BY name`)
    return rows.map(shareOf)
  }

  async inode(inode: InodeNumber): Promise<Inode | undefined> {
    const [row] = await this.#source.rows<InodeRow>(`SELECT ${INODE_COLUMNS} FROM ${this.#tables.inodes} i WHERE i.inode = $1`, [inode])
    return row === undefined ? undefined : inodeOf(row)
  }

  async lookup(place: Place): Promise<Inode | undefined> {
    const [row] = await this.#source.rows<InodeRow>(`SELECT ${INODE_COLUMNS} FROM ${this.#tables.entries} e JOIN ${this.#tables.inodes} i USING (inode) WHERE e.parent = $1 AND e.name = $2`, [
      place.parent,
      place.name,
    ])
    return row === undefined ? undefined : inodeOf(row)
  }

  async readDirectory(directory: InodeNumber, { after, limit }: DirectoryRange): Promise<DirectoryPage> {
    const rows = await this.#source.rows<{ directory_type: InodeType; name: string | null; inode: unknown; type: InodeType }>(
      `SELECT d.type AS directory_type, e.name, e.inode, e.type FROM ${this.#tables.inodes} d
       LEFT JOIN LATERAL (SELECT name, inode, type FROM ${this.#tables.entries} WHERE parent = $1 AND name > $2 ORDER BY name LIMIT $3) e ON true
       WHERE d.inode = $1 ORDER BY e.name`,
      [directory, after ?? '', limit + 1],
    )
    requireDirectoryType(directory, rows[0]?.directory_type)
    const page = rows.slice(0, limit).flatMap(({ name, inode, type }) => (name === null ? [] : [{ name, inode: Number(inode), type }]))
    return { entries: page, cursor: rows.length > limit ? page.at(-1)?.name : undefined }
  }

  blocks(inode: InodeNumber): AsyncIterable<Block> {
    return readBlocks(this.#source, inode)
  }

  uploads(): AsyncIterable<PendingUpload> {
    return this.#source.iterate(eachUpload)
  }

  async locks(inode: InodeNumber): Promise<readonly ByteRangeLock[]> {
    return await readLocks(this.#source, inode)
  }

  async setting(name: string): Promise<string | undefined> {
    const [row] = await this.#source.rows<{ value: string }>(`SELECT value FROM ${this.#tables.settings} WHERE name = $1`, [name])
    return row?.value
  }

  async settings(): Promise<ReadonlyMap<string, string>> {
    const rows = await this.#source.rows<{ name: string; value: string }>(`SELECT name, value FROM ${this.#tables.settings} ORDER BY name`)
    return new Map(rows.map(({ name, value }) => [name, value]))
  }

  async usedBytes(): Promise<number> {
    const [row] = await this.#source.rows<{ bytes: string }>(`SELECT coalesce(sum(bytes), 0)::text AS bytes FROM ${this.#tables.used_bytes}`)
    return Number(row?.bytes)
  }

  payloadIds(): AsyncIterable<string> {
    const query = `SELECT payload_id FROM (
        SELECT payload_id FROM ${this.#tables.inodes} UNION ALL SELECT payload_id FROM ${this.#tables.blocks} UNION ALL SELECT payload_id FROM ${this.#tables.upload_blocks}
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

interface UploadRow {
  readonly upload_id: string
  readonly parent: unknown
  readonly name: string
  readonly started_at_ms: unknown
}

/** One upload at a time, with its blocks. */
async function* eachUpload(view: View): AsyncGenerator<PendingUpload, void, undefined> {
  for await (const row of view.each<UploadRow>(`SELECT upload_id, parent, name, started_at_ms FROM ${view.tables.uploads} ORDER BY upload_id`)) {
    const { upload_id: uploadId, parent, name, started_at_ms: startedAtMs } = row
    yield { uploadId, parent: Number(parent), name, startedAtMs: Number(startedAtMs), blocks: await allBlocks(view, { uploadId }) }
  }
}
