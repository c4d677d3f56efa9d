/** Block lists of files and of uploads. */
import type { Block, InodeNumber, InodeType } from '../../../contracts/metadata-store.ts'
import { type Queries, type ReadSource, eachRow } from './queries.ts'
import { noSuchInode, requireFileType } from '../../../metadata/refusals.ts'
import type { BlockOwner } from '../../../metadata/tree-transaction.ts'
import { type BlockRow, BLOCK_COLUMNS, blockOf } from './rows.ts'

/** Blocks that one statement carries, in either direction. */
const BLOCKS_AT_ONCE = 2000

export async function putBlocks(queries: Queries, owner: BlockOwner, blocks: readonly Block[]): Promise<void> {
  const { table, key, type, value } = placeOf(queries, owner)
  for (let at = 0; at < blocks.length; at += BLOCKS_AT_ONCE) {
    const part = blocks.slice(at, at + BLOCKS_AT_ONCE)
    const columns = [part.map(({ payloadId }) => payloadId), part.map(({ offset }) => offset), part.map(({ bytes }) => bytes)]
    await queries.rows(
      `INSERT INTO ${table} (${key}, position, ${BLOCK_COLUMNS})
       SELECT $1::${type}, $2::bigint + position - 1, ${BLOCK_COLUMNS}
       FROM unnest($3::text[], $4::bigint[], $5::bigint[]) WITH ORDINALITY AS given (${BLOCK_COLUMNS}, position)`,
      [value, at, ...columns],
    )
  }
}

/** The blocks of a file in order, all as they were at one instant; a bounded number of them in memory. */
export async function* readBlocks(source: ReadSource, inode: InodeNumber): AsyncGenerator<Block, void, undefined> {
  const { inodes, blocks } = source.tables
  // A short list is one query, and keeps no connection.
  const rows = await source.rows<BlockRow & { readonly type: InodeType; readonly block_count: unknown; readonly position: unknown }>(
    `SELECT i.type, i.block_count, b.* FROM ${inodes} i
     LEFT JOIN LATERAL (SELECT position, ${BLOCK_COLUMNS} FROM ${blocks} WHERE inode = $1 AND i.block_count <= $2 ORDER BY position) b ON true
     WHERE i.inode = $1 ORDER BY b.position`,
    [inode, BLOCKS_AT_ONCE],
  )
  const [first] = rows
  if (first === undefined) throw noSuchInode(inode)
  requireFileType({ inode, type: first.type })
  if (Number(first.block_count) <= BLOCKS_AT_ONCE) yield* rows.filter(({ position }) => position !== null).map(blockOf)
  else yield* eachRow(source, (view) => view.each<BlockRow>(`SELECT ${BLOCK_COLUMNS} FROM ${blocks} WHERE inode = $1 ORDER BY position`, [inode]), blockOf)
}

export async function allBlocks(queries: Queries, owner: BlockOwner): Promise<Block[]> {
  const { table, key, value } = placeOf(queries, owner)
  return (await queries.rows<BlockRow>(`SELECT ${BLOCK_COLUMNS} FROM ${table} WHERE ${key} = $1 ORDER BY position`, [value])).map(blockOf)
}

/** The table that the blocks are in, and the column that says whose they are. */
export function placeOf(
  { tables }: Queries,
  owner: BlockOwner,
): { readonly table: string; readonly key: string; readonly type: string; readonly value: unknown } {
  if ('inode' in owner) return { table: tables.blocks, key: 'inode', type: 'bigint', value: owner.inode }
  return { table: tables.upload_blocks, key: 'upload_id', type: 'text', value: owner.uploadId }
}
