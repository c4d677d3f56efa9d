import { failureAfter } from '../../../errors/clean-up.ts'
import type { Block, ByteRangeLock, InodeNumber, ListedBlock, ListedEntry, ListedInode, MetadataView } from '../../../contracts/metadata-store.ts'
import { checkInodeNumber } from '../../../metadata/validate.ts'
import { ValidatedReader } from '../../../metadata/validated-reader.ts'
import { PostgresMetadataReader } from './postgres-metadata-reader.ts'
import { readBlocks } from './contents.ts'
import type { SharedView } from './shared-view.ts'
import { type View, eachRow } from './queries.ts'
import { type BlockRow, type EntryRow, type InodeRow, type LockRow, BLOCK_COLUMNS, INODE_COLUMNS, LOCK_COLUMNS, blockOf, entryOf, inodeOf, lockOf } from './rows.ts'

/** A metadata store at one instant. It keeps a connection, and the server from reclaiming what it shows, until it is closed. */
export class PostgresMetadataView extends ValidatedReader implements MetadataView {
  readonly #shared: SharedView
  readonly #nextInode: InodeNumber

  private constructor(shared: SharedView, nextInode: InodeNumber) {
    super(new PostgresMetadataReader(shared))
    this.#shared = shared
    this.#nextInode = nextInode
  }

  /** Opens a view, which closes `shared`. */
  static async open(shared: SharedView): Promise<PostgresMetadataView> {
    try {
      // A sequence is of no instant: read after it began, it is beyond all that the view shows.
      const [row] = await shared.rows<{ next: unknown }>(`SELECT last_value + is_called::int AS next FROM ${shared.tables.inode_numbers_table}`)
      return new PostgresMetadataView(shared, Number(row?.next))
    } catch (error) {
      throw await failureAfter(error, () => shared.close())
    }
  }

  async nextInode(): Promise<InodeNumber> {
    // Refused when the view was closed.
    await this.#shared.rows('SELECT')
    return this.#nextInode
  }

  /** One iteration from its first query on, so that `close` waits for all of it. */
  override blocks(inode: InodeNumber): AsyncIterable<Block> {
    checkInodeNumber(inode)
    return this.#shared.iterate((view) => readBlocks(view, inode))
  }

  inodes(): AsyncIterable<ListedInode> {
    const { inodes, entries } = this.#shared.tables
    const text = `SELECT ${INODE_COLUMNS}, CASE WHEN i.type = 'directory' THEN coalesce(e.parent, i.inode) END AS parent
      FROM ${inodes} i LEFT JOIN ${entries} e ON e.inode = i.inode AND e.type = 'directory' ORDER BY i.inode`
    return eachRow(this.#shared, (view) => view.each<InodeRow & { readonly parent: unknown }>(text), (row) => ({
      ...inodeOf(row),
      parent: row.parent === null ? undefined : Number(row.parent),
    }))
  }

  entries(): AsyncIterable<ListedEntry> {
    const text = `SELECT parent, name, inode, type FROM ${this.#shared.tables.entries} ORDER BY parent, name`
    const query = (view: View): AsyncIterable<EntryRow & { readonly parent: unknown; readonly name: string }> => view.each(text)
    return eachRow(this.#shared, query, (row) => ({ parent: Number(row.parent), name: row.name, ...entryOf(row) }))
  }

  allBlocks(): AsyncIterable<ListedBlock> {
    const text = `SELECT inode, ${BLOCK_COLUMNS} FROM ${this.#shared.tables.blocks} ORDER BY inode, position`
    return eachRow(this.#shared, (view) => view.each<BlockRow & { readonly inode: unknown }>(text), (row) => ({ inode: Number(row.inode), ...blockOf(row) }))
  }

  allLocks(): AsyncIterable<ByteRangeLock> {
    const text = `SELECT inode, ${LOCK_COLUMNS} FROM ${this.#shared.tables.locks} ORDER BY inode, start_byte, owner`
    return eachRow(this.#shared, (view) => view.each<LockRow & { readonly inode: unknown }>(text), (row) => lockOf(Number(row.inode), row))
  }

  async close(): Promise<void> {
    await this.#shared.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
