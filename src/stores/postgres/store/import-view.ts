/** Copies all that a view of any metadata store shows into the empty tables of one, in one transaction. */
import { closing } from '../../../errors/clean-up.ts'
import { RecordInvalidError } from '../../../errors/errors.ts'
import type { ImportOptions, MetadataView } from '../../../contracts/metadata-store.ts'
import { holdsData } from '../../../metadata/refusals.ts'
import { findFault } from '../snapshot/find-fault.ts'
import { PostgresMetadataView } from './postgres-metadata-view.ts'
import { type TableName, type View, TABLES } from './queries.ts'
import { putBlocks } from './contents.ts'
import { SharedView } from './shared-view.ts'
import { ATTRIBUTE_COLUMNS, BLOCK_COLUMNS, LOCK_COLUMNS, attributeValues } from './rows.ts'
import { faultQuery } from './torn-tree.ts'

/** Fills the tables while no other session writes; the caller undoes the transaction when it throws. See `MetadataStore.importView`. */
export async function importView(connection: View, view: MetadataView, options: ImportOptions): Promise<void> {
  const { signal, check } = options
  const paths = TABLES.map((name) => connection.tables[name])
  // A number that was given once counts too, as nothing may have it again.
  const signs = [...paths.map((path) => `EXISTS (SELECT FROM ${path})`), `(SELECT is_called OR last_value > 1 FROM ${connection.tables.inode_numbers_table})`]
  const [found] = await connection.rows<{ populated: boolean }>(`SELECT ${signs.join(' OR ')} AS populated`)
  if (found?.populated === true) throw holdsData()
  signal?.throwIfAborted()
  // What triggers count comes with the view; it is checked for all rows at once instead of row by row.
  for (const path of paths) await connection.rows(`ALTER TABLE ${path} DISABLE TRIGGER USER`)
  await copyView(new RowWriter(connection, options), view)
  await setCounters(connection, await view.nextInode())
  for (const path of paths) await connection.rows(`ALTER TABLE ${path} ENABLE TRIGGER USER`)
  await connection.rows(`ANALYZE ${paths.join(', ')}`)
  const fault = await findFault(connection, faultQuery(connection.tables))
  if (fault !== undefined) throw new RecordInvalidError(`Cannot import the view: ${fault}`)
  if (check !== undefined) await closing(await PostgresMetadataView.open(new SharedView(connection, async () => undefined)), check)
  signal?.throwIfAborted()
}

/** In the order in which rows refer to each other. */
async function copyView(writer: RowWriter, view: MetadataView): Promise<void> {
  await copyInodes(writer, view)
  for await (const { parent, name, inode, type } of view.entries()) await writer.add('entries', [parent, name, inode, type])
  for (const { name, root, createdAtMs, options } of await view.shares()) await writer.add('shares', [name, root, createdAtMs, JSON.stringify(options)])
  await copyBlocks(writer, view)
  for await (const { inode, owner, kind, start, end } of view.allLocks()) await writer.add('locks', [inode, owner, kind, start, end ?? null])
  for (const [name, value] of await view.settings()) await writer.add('settings', [name, value])
  for await (const { uploadId, parent, name, startedAtMs, blocks } of view.uploads()) {
    await writer.add('uploads', [uploadId, parent, name, startedAtMs, blocks.length])
    await writer.flush()
    await putBlocks(writer.connection, { uploadId }, blocks)
  }
  await writer.flush()
}

async function copyInodes(writer: RowWriter, view: MetadataView): Promise<void> {
  for await (const inode of view.inodes()) {
    const { type, links, blockCount, symlinkTarget, payloadId } = inode
    await writer.add('inodes', [inode.inode, type, links, blockCount, symlinkTarget ?? null, payloadId ?? null, ...attributeValues(inode)])
  }
}

async function copyBlocks(writer: RowWriter, view: MetadataView): Promise<void> {
  let [file, position] = [0, 0]
  for await (const { inode, payloadId, offset, bytes } of view.allBlocks()) {
    if (inode !== file) [file, position] = [inode, 0]
    await writer.add('blocks', [inode, position++, payloadId, offset, bytes])
  }
}

/** Undone with the transaction: a sequence that is restarted in it is a new one until it ends. */
async function setCounters(connection: View, nextInode: number): Promise<void> {
  const { tables } = connection
  if (nextInode > 1) {
    await connection.rows(`ALTER SEQUENCE ${tables.inode_numbers_table} RESTART`)
    await connection.rows(`SELECT setval(${tables.inode_numbers}, $1::bigint)`, [nextInode - 1])
  }
  await connection.rows(`INSERT INTO ${tables.used_bytes} (part, bytes) SELECT 0, sum(size) FROM ${tables.inodes} WHERE type = 'file' HAVING sum(size) > 0`)
}

/** The columns that rows are given in. */
const COLUMNS = {
  inodes: `inode, type, links, block_count, symlink_target, payload_id, ${ATTRIBUTE_COLUMNS.join(', ')}`,
  entries: 'parent, name, inode, type',
  shares: 'name, root, created_at_ms, options',
  blocks: `inode, position, ${BLOCK_COLUMNS}`,
  locks: `inode, ${LOCK_COLUMNS}`,
  settings: 'name, value',
  uploads: 'upload_id, parent, name, started_at_ms, block_count',
} as const satisfies Partial<Record<TableName, string>>

/** What one statement carries: the first of these that is reached. The protocol has room for 65,535 values. */
const MAX_VALUES = 16_000
const MAX_LENGTH: number = 2 * 1024 * 1024

/** Gathers rows of one table, and writes them many at a time. */
class RowWriter {
  readonly connection: View
  readonly #options: ImportOptions
  #table: keyof typeof COLUMNS = 'inodes'
  #rows: (readonly unknown[])[] = []
  #length = 0
  #written = 0

  constructor(connection: View, options: ImportOptions) {
    this.connection = connection
    this.#options = options
  }

  async add(table: keyof typeof COLUMNS, row: readonly unknown[]): Promise<void> {
    if (table !== this.#table) await this.flush()
    this.#table = table
    this.#rows.push(row)
    for (const value of row) this.#length += lengthOf(value)
    if (this.#rows.length * row.length >= MAX_VALUES || this.#length >= MAX_LENGTH) await this.flush()
  }

  /** Rejects when the import is to end. */
  async flush(): Promise<void> {
    const rows = this.#rows
    if (rows.length === 0) return
    this.#rows = []
    this.#length = 0
    let parameter = 0
    const places = rows.map((row) => `(${row.map(() => `$${++parameter}`).join(', ')})`).join(', ')
    await this.connection.rows(`INSERT INTO ${this.connection.tables[this.#table]} (${COLUMNS[this.#table]}) VALUES ${places}`, rows.flatMap((row) => [...row]))
    this.#written += rows.length
    this.#options.onProgress?.({ records: this.#written })
    this.#options.signal?.throwIfAborted()
  }
}

function lengthOf(value: unknown): number {
  if (typeof value === 'string') return value.length
  if (value instanceof Uint8Array) return value.byteLength
  return Array.isArray(value) ? value.reduce<number>((sum, item) => sum + lengthOf(item), 0) : 8
}
