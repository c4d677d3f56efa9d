/** One mutation of a metadata store as statements of a transaction. Triggers keep the counts: links, blocks and used bytes. */
import type { Block, ByteRangeLock, Inode, InodeAttributes, InodeNumber, InodeType, PendingUpload, Place, Share } from '../../../contracts/metadata-store.ts'
import { InternalError } from '../../../errors/errors.ts'
import { quoted } from '../../../metadata/refusals.ts'
import type { BlockOwner, Counts, EntryRecord, InodeFields, LockMode, PlacedEntry, TreeTransaction } from '../../../metadata/tree-transaction.ts'
import { lockKey } from '../connection/advisory-locks.ts'
import type { Queries, TablePaths } from './queries.ts'
import { placeOf, putBlocks } from './contents.ts'
import { ChangedMeanwhile } from './database.ts'
import { type EntryRow, type InodeRow, ATTRIBUTE_COLUMNS, BLOCK_COLUMNS, INODE_COLUMNS, LOCK_COLUMNS, attributeValues, entryOf, inodeOf, readLocks } from './rows.ts'

/** How rows are locked, several of them in the order of their numbers. */
const LOCKS: Readonly<Record<LockMode, string>> = { use: 'FOR KEY SHARE', change: 'FOR NO KEY UPDATE', remove: 'FOR UPDATE' }

/** The columns of a new inode. */
const INSERTED: readonly string[] = ['type', 'links', 'symlink_target', 'payload_id', ...ATTRIBUTE_COLUMNS]

export class PostgresTree implements TreeTransaction {
  readonly #queries: Queries
  readonly #tables: TablePaths

  constructor(queries: Queries) {
    this.#queries = queries
    this.#tables = queries.tables
  }

  async shareRoot(name: string): Promise<InodeNumber | undefined> {
    const [row] = await this.#queries.rows<{ root: unknown }>(`SELECT root FROM ${this.#tables.shares} WHERE name = $1 FOR UPDATE`, [name])
    return row === undefined ? undefined : Number(row.root)
  }

  async addShare({ name, createdAtMs, options }: Omit<Share, 'root'>, root: InodeFields): Promise<InodeNumber> {
    return await this.#insertInode(root, {
      named: (first) => `INSERT INTO ${this.#tables.shares} (name, root, created_at_ms, options) SELECT $${first}, inode, $${first + 1}, $${first + 2}::jsonb FROM made`,
      values: [name, createdAtMs, JSON.stringify(options)],
    })
  }

  async removeShare(name: string, root: InodeNumber): Promise<void> {
    await this.#queries.rows(
      `WITH gone AS (DELETE FROM ${this.#tables.shares} WHERE name = $1) DELETE FROM ${this.#tables.inodes} WHERE inode = $2`,
      [name, root],
    )
  }

  async typeOf(inode: InodeNumber): Promise<InodeType | undefined> {
    const [row] = await this.#queries.rows<{ type: InodeType }>(`SELECT type FROM ${this.#tables.inodes} WHERE inode = $1`, [inode])
    return row?.type
  }

  async inode(inode: InodeNumber, mode: LockMode): Promise<Inode | undefined> {
    const [row] = await this.#queries.rows<InodeRow>(`SELECT ${INODE_COLUMNS} FROM ${this.#tables.inodes} i WHERE i.inode = $1 ${LOCKS[mode]}`, [inode])
    return row === undefined ? undefined : inodeOf(row)
  }

  async lock(inodes: readonly InodeNumber[], mode: LockMode): Promise<ReadonlyMap<InodeNumber, Counts>> {
    const found = await this.#queries.rows<Pick<InodeRow, 'inode' | 'links' | 'block_count'>>(
      `SELECT inode, links, block_count FROM ${this.#tables.inodes} WHERE inode = ANY ($1::bigint[]) ORDER BY inode ${LOCKS[mode]}`,
      [inodes],
    )
    return new Map(found.map(({ inode, links, block_count: blockCount }) => [Number(inode), { links: Number(links), blockCount: Number(blockCount) }]))
  }

  async lockMoves(): Promise<void> {
    await this.#queries.rows('SELECT pg_advisory_xact_lock($1, $2)', lockKey('moves', this.#queries.schema))
  }

  async entry({ parent, name }: Place): Promise<EntryRecord | undefined> {
    const [row] = await this.#queries.rows<EntryRow>(`SELECT inode, type FROM ${this.#tables.entries} WHERE parent = $1 AND name = $2`, [parent, name])
    return row === undefined ? undefined : entryOf(row)
  }

  async parentOf({ parent, name }: Place, mode: LockMode): Promise<{ readonly type: InodeType; readonly isTaken: boolean } | undefined> {
    const [row] = await this.#queries.rows<{ type: InodeType; taken: boolean }>(
      `SELECT type, EXISTS (SELECT FROM ${this.#tables.entries} WHERE parent = $1 AND name = $2) AS taken FROM ${this.#tables.inodes} i WHERE inode = $1 ${LOCKS[mode]} OF i`,
      [parent, name],
    )
    return row === undefined ? undefined : { type: row.type, isTaken: row.taken }
  }

  async requireUnchanged({ place, entry }: PlacedEntry): Promise<void> {
    const found = await this.entry(place)
    if (found?.inode !== entry.inode) throw new ChangedMeanwhile(`Cannot change ${quoted(place)}: others keep changing it`)
  }

  async hasEntries(directory: InodeNumber): Promise<boolean> {
    const [row] = await this.#queries.rows<{ found: boolean }>(`SELECT EXISTS (SELECT FROM ${this.#tables.entries} WHERE parent = $1) AS found`, [directory])
    return row?.found === true
  }

  async isWithin(directory: InodeNumber, ancestor: InodeNumber): Promise<boolean> {
    const [row] = await this.#queries.rows<{ found: boolean }>(
      `WITH RECURSIVE up (inode) AS (
         SELECT $1::bigint UNION SELECT e.parent FROM up JOIN ${this.#tables.entries} e ON e.inode = up.inode AND e.type = 'directory'
       ) SELECT EXISTS (SELECT FROM up WHERE inode = $2) AS found`,
      [directory, ancestor],
    )
    return row?.found === true
  }

  async addInode({ parent, name }: Place, inode: InodeFields): Promise<InodeNumber> {
    // The entry, once it is there, makes the first link of what is not a directory.
    return await this.#insertInode(inode, {
      named: (first) => `INSERT INTO ${this.#tables.entries} (parent, name, inode, type) SELECT $${first}, $${first + 1}, inode, type FROM made`,
      values: [parent, name],
    })
  }

  async addEntry({ place, entry }: PlacedEntry): Promise<void> {
    await this.#queries.rows(
      `INSERT INTO ${this.#tables.entries} (parent, name, inode, type) VALUES ($1, $2, $3, $4)`,
      [place.parent, place.name, entry.inode, entry.type],
    )
  }

  async removeEntry({ place }: PlacedEntry): Promise<void> {
    await this.#queries.rows(`DELETE FROM ${this.#tables.entries} WHERE parent = $1 AND name = $2`, [place.parent, place.name])
  }

  async removeInode({ place, entry: { inode } }: PlacedEntry, { blockCount }: Counts): Promise<void> {
    if (blockCount > 0) await this.removeBlocks({ inode })
    await this.#queries.rows(
      `WITH gone AS (DELETE FROM ${this.#tables.entries} WHERE parent = $1 AND name = $2) DELETE FROM ${this.#tables.inodes} WHERE inode = $3`,
      [place.parent, place.name, inode],
    )
  }

  async moveEntry({ place }: PlacedEntry, to: Place): Promise<void> {
    await this.#queries.rows(
      `UPDATE ${this.#tables.entries} SET parent = $3, name = $4 WHERE parent = $1 AND name = $2`,
      [place.parent, place.name, to.parent, to.name],
    )
  }

  async exchangeEntries(one: PlacedEntry, other: PlacedEntry): Promise<void> {
    await this.removeEntry(other)
    await this.moveEntry(one, other.place)
    await this.addEntry({ place: one.place, entry: other.entry })
  }

  async putAttributes({ inode }: Inode, attributes: InodeAttributes): Promise<void> {
    const assignments = ATTRIBUTE_COLUMNS.map((column, at) => `${column} = $${at + 2}`).join(', ')
    await this.#queries.rows(`UPDATE ${this.#tables.inodes} SET ${assignments} WHERE inode = $1`, [inode, ...attributeValues(attributes)])
  }

  async putContent(_before: Inode, { inode, size, modifiedAtNs, changedAtNs, payloadId }: Inode): Promise<void> {
    await this.#queries.rows(`UPDATE ${this.#tables.inodes} SET size = $2, modified_at_ns = $3, changed_at_ns = $4, payload_id = $5 WHERE inode = $1`, [
      inode,
      size,
      String(modifiedAtNs),
      String(changedAtNs),
      payloadId ?? null,
    ])
  }

  async putBlocks(owner: BlockOwner, blocks: readonly Block[]): Promise<void> {
    await putBlocks(this.#queries, owner, blocks)
  }

  async removeBlocks(owner: BlockOwner): Promise<void> {
    const { table, key, value } = placeOf(this.#queries, owner)
    await this.#queries.rows(`DELETE FROM ${table} WHERE ${key} = $1`, [value])
  }

  async putUpload({ uploadId, parent, name, startedAtMs }: PendingUpload): Promise<void> {
    await this.#queries.rows(
      `INSERT INTO ${this.#tables.uploads} (upload_id, parent, name, started_at_ms) VALUES ($1, $2, $3, $4)
       ON CONFLICT (upload_id) DO UPDATE SET parent = excluded.parent, name = excluded.name, started_at_ms = excluded.started_at_ms`,
      [uploadId, parent, name, startedAtMs],
    )
  }

  async uploadPlace(uploadId: string): Promise<Place | undefined> {
    const [row] = await this.#queries.rows<{ parent: unknown; name: string }>(
      `SELECT parent, name FROM ${this.#tables.uploads} WHERE upload_id = $1 FOR UPDATE`,
      [uploadId],
    )
    return row === undefined ? undefined : { parent: Number(row.parent), name: row.name }
  }

  async uploadSize(uploadId: string): Promise<{ readonly bytes: number; readonly blocks: number }> {
    const [sum] = await this.#queries.rows<{ bytes: string; blocks: unknown }>(
      `SELECT coalesce(sum(bytes), 0)::text AS bytes, count(*) AS blocks FROM ${this.#tables.upload_blocks} WHERE upload_id = $1`,
      [uploadId],
    )
    return { bytes: Number(sum?.bytes), blocks: Number(sum?.blocks) }
  }

  async moveUpload(uploadId: string, inode: InodeNumber): Promise<void> {
    await this.#queries.rows(
      `INSERT INTO ${this.#tables.blocks} (inode, position, ${BLOCK_COLUMNS}) SELECT $2::bigint, position, ${BLOCK_COLUMNS} FROM ${this.#tables.upload_blocks} WHERE upload_id = $1`,
      [uploadId, inode],
    )
    await this.removeUpload(uploadId)
  }

  async removeUpload(uploadId: string): Promise<void> {
    await this.removeBlocks({ uploadId })
    await this.#queries.rows(`DELETE FROM ${this.#tables.uploads} WHERE upload_id = $1`, [uploadId])
  }

  async locks(inode: InodeNumber): Promise<readonly ByteRangeLock[]> {
    return await readLocks(this.#queries, inode)
  }

  async replaceLocks(removed: readonly ByteRangeLock[], added: readonly ByteRangeLock[]): Promise<void> {
    for (const { inode, start, owner } of removed) {
      await this.#queries.rows(`DELETE FROM ${this.#tables.locks} WHERE inode = $1 AND start_byte = $2 AND owner = $3`, [inode, start, owner])
    }
    for (const { inode, owner, kind, start, end } of added) {
      await this.#queries.rows(
        `INSERT INTO ${this.#tables.locks} (inode, ${LOCK_COLUMNS}) VALUES ($1, $2, $3, $4, $5)`,
        [inode, owner, kind, start, end ?? null],
      )
    }
  }

  async putSetting(name: string, value: string | undefined): Promise<void> {
    if (value === undefined) await this.#queries.rows(`DELETE FROM ${this.#tables.settings} WHERE name = $1`, [name])
    else await this.#queries.rows(`INSERT INTO ${this.#tables.settings} (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, [name, value])
  }

  /** Makes an inode, and what names it: `named` selects from `made`, and its values are numbered from `first` on. */
  async #insertInode(
    inode: InodeFields,
    { named, values }: { readonly named: (first: number) => string; readonly values: readonly unknown[] },
  ): Promise<InodeNumber> {
    const { type, symlinkTarget, payloadId } = inode
    const inserted = [type, type === 'directory' ? 2 : 0, symlinkTarget ?? null, payloadId ?? null, ...attributeValues(inode)]
    const [row] = await this.#queries.rows<{ inode: unknown }>(
      `WITH made AS (
         INSERT INTO ${this.#tables.inodes} (inode, ${INSERTED.join(', ')}) VALUES (nextval(${this.#tables.inode_numbers}), ${INSERTED.map((_, at) => `$${at + 1}`).join(', ')}) RETURNING inode, type
       ), named AS (${named(INSERTED.length + 1)})
       SELECT inode FROM made`,
      [...inserted, ...values],
    )
    if (row === undefined) throw new InternalError('Cannot create an inode: the server made none')
    return Number(row.inode)
  }
}
