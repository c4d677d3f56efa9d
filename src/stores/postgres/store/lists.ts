/** All records of a kind, as a view lists them. */
import type { ByteRangeLock, InodeType, ListedBlock, ListedEntry, ListedInode } from '../../../metadata/metadata-store.ts'
import type { View } from './connection.ts'
import { type BlockRow, type InodeRow, type LockRow, BLOCK_COLUMNS, INODE_COLUMNS, LOCK_COLUMNS, blockOf, inodeOf, lockOf } from './rows.ts'

/** Each may have 128 KiB of extended attributes. */
const INODES_AT_ONCE = 250

export async function* eachInode(view: View): AsyncGenerator<ListedInode, void, undefined> {
  const { inodes, entries } = view.tables
  // A directory that has no entry is the root of a share.
  const query = `SELECT ${INODE_COLUMNS}, CASE i.type WHEN 'directory' THEN coalesce(e.parent, i.inode) END AS parent
    FROM ${inodes} i LEFT JOIN ${entries} e ON e.inode = i.inode AND e.type = 'directory' ORDER BY i.inode`
  for await (const row of view.each<InodeRow & { readonly parent: unknown }>(query, { rowsAtOnce: INODES_AT_ONCE })) {
    yield { ...inodeOf(row), parent: row.parent === null ? undefined : Number(row.parent) }
  }
}

interface ListedEntryRow {
  readonly parent: unknown
  readonly name: string
  readonly inode: unknown
  readonly type: InodeType
}

export async function* eachEntry(view: View): AsyncGenerator<ListedEntry, void, undefined> {
  for await (const { parent, name, inode, type } of view.each<ListedEntryRow>(`SELECT parent, name, inode, type FROM ${view.tables.entries} ORDER BY parent, name`)) {
    yield { parent: Number(parent), name, inode: Number(inode), type }
  }
}

export async function* eachBlock(view: View): AsyncGenerator<ListedBlock, void, undefined> {
  const query = `SELECT inode, ${BLOCK_COLUMNS} FROM ${view.tables.blocks} ORDER BY inode, position`
  for await (const row of view.each<BlockRow & { readonly inode: unknown }>(query)) yield { inode: Number(row.inode), ...blockOf(row) }
}

export async function* eachLock(view: View): AsyncGenerator<ByteRangeLock, void, undefined> {
  const query = `SELECT inode, ${LOCK_COLUMNS} FROM ${view.tables.locks} ORDER BY inode, start_byte, owner`
  for await (const row of view.each<LockRow & { readonly inode: unknown }>(query)) yield lockOf(Number(row.inode), row)
}
