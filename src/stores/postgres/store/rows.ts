/** Rows as the server gives them, and what the contract makes of them: exact numbers, however the pool parses them. */
import type { Block, ByteRangeLock, Inode, InodeAttributes, InodeNumber, InodeType, Share } from '../../../contracts/metadata-store.ts'
import { inOrder } from '../../../metadata/locks.ts'
import type { EntryRecord } from '../../../metadata/tree-transaction.ts'
import type { Queries } from './queries.ts'

/** Numbers up to 2^53 as a pool gives them: text, unless it was taught otherwise. */
type Whole = string | number | bigint

export interface InodeRow {
  readonly inode: Whole
  readonly type: InodeType
  readonly mode: number
  readonly uid: Whole
  readonly gid: Whole
  readonly size: Whole
  readonly accessed_at_ns: string
  readonly modified_at_ns: string
  readonly changed_at_ns: string
  readonly created_at_ns: string
  readonly links: Whole
  readonly block_count: Whole
  readonly symlink_target: string | null
  readonly payload_id: string | null
  readonly xattr_names: readonly string[] | null
  readonly xattr_values: readonly Uint8Array[] | null
}

/** The columns of an inode, of the table `i`. */
export const INODE_COLUMNS = `i.inode, i.type, i.mode, i.uid, i.gid, i.size, i.accessed_at_ns::text, i.modified_at_ns::text, i.changed_at_ns::text,
  i.created_at_ns::text, i.links, i.block_count, i.symlink_target, i.payload_id, i.xattr_names, i.xattr_values`

export function inodeOf(row: InodeRow): Inode {
  const values = row.xattr_values ?? []
  return {
    inode: Number(row.inode),
    type: row.type,
    mode: row.mode,
    uid: Number(row.uid),
    gid: Number(row.gid),
    size: Number(row.size),
    accessedAtNs: BigInt(row.accessed_at_ns),
    modifiedAtNs: BigInt(row.modified_at_ns),
    changedAtNs: BigInt(row.changed_at_ns),
    createdAtNs: BigInt(row.created_at_ns),
    xattrs: new Map((row.xattr_names ?? []).map((name, at) => [name, Uint8Array.from(values[at] ?? [])])),
    links: Number(row.links),
    symlinkTarget: row.symlink_target ?? undefined,
    payloadId: row.payload_id ?? undefined,
    blockCount: Number(row.block_count),
  }
}

/** The columns that attributes are written to, in the order of `attributeValues`. */
export const ATTRIBUTE_COLUMNS: readonly string[] = [
  'mode',
  'uid',
  'gid',
  'size',
  'accessed_at_ns',
  'modified_at_ns',
  'changed_at_ns',
  'created_at_ns',
  'xattr_names',
  'xattr_values',
]

export function attributeValues(attributes: InodeAttributes): unknown[] {
  const { mode, uid, gid, size, accessedAtNs, modifiedAtNs, changedAtNs, createdAtNs, xattrs } = attributes
  const names = [...xattrs.keys()].toSorted()
  const values = names.map((name) => Buffer.from(xattrs.get(name) ?? []))
  const times = [accessedAtNs, modifiedAtNs, changedAtNs, createdAtNs].map(String)
  return [mode, uid, gid, size, ...times, names.length === 0 ? null : names, names.length === 0 ? null : values]
}

export interface EntryRow {
  readonly inode: Whole
  readonly type: InodeType
}

export function entryOf({ inode, type }: EntryRow): EntryRecord {
  return { inode: Number(inode), type }
}

export interface BlockRow {
  readonly payload_id: string
  readonly payload_offset: Whole
  readonly bytes: Whole
}

export const BLOCK_COLUMNS = 'payload_id, payload_offset, bytes'

export function blockOf(row: BlockRow): Block {
  return { payloadId: row.payload_id, offset: Number(row.payload_offset), bytes: Number(row.bytes) }
}

export interface ShareRow {
  readonly name: string
  readonly root: Whole
  readonly created_at_ms: Whole
  readonly options: string
}

export const SHARE_COLUMNS = 'name, root, created_at_ms, options::text'

export function shareOf({ name, root, created_at_ms: createdAtMs, options }: ShareRow): Share {
  return { name, root: Number(root), createdAtMs: Number(createdAtMs), options: JSON.parse(options) as Record<string, string> }
}

export interface LockRow {
  readonly owner: string
  readonly kind: ByteRangeLock['kind']
  readonly start_byte: Whole
  readonly end_byte: Whole | null
}

export const LOCK_COLUMNS = 'owner, kind, start_byte, end_byte'

export function lockOf(inode: InodeNumber, { owner, kind, start_byte: start, end_byte: end }: LockRow): ByteRangeLock {
  return { inode, owner, kind, start: Number(start), end: end === null ? undefined : Number(end) }
}

export async function readLocks(queries: Pick<Queries, 'rows' | 'tables'>, inode: InodeNumber): Promise<ByteRangeLock[]> {
  const rows = await queries.rows<LockRow>(`SELECT ${LOCK_COLUMNS} FROM ${queries.tables.locks} WHERE inode = $1`, [inode])
  return inOrder(rows.map((row) => lockOf(inode, row)))
}
