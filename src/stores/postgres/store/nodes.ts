/** Inodes and directory entries: reading them, requiring them, and locking what a mutation goes by. */
import { MetadataError, InvalidArgumentError } from '../../../errors/errors.ts'
import type { Inode, InodeNumber, InodeType, Place } from '../../../contracts/metadata-store.ts'
import type { Queries } from './connection.ts'
import { type EntryRecord, type EntryRow, type InodeRow, INODE_COLUMNS, entryOf, inodeOf } from './rows.ts'

/**
 * How an inode is locked. `use`: it stays, and stays of its type. `change`: it is changed by nobody else. `remove`: nobody else
 * locks it at all; of a directory this also keeps entries from being made in it.
 *
 * Who locks several does so in one call, which takes them in the order of their numbers; files before directories.
 */
type LockMode = 'use' | 'change' | 'remove'
const LOCKS: Readonly<Record<LockMode, string>> = { use: 'FOR KEY SHARE', change: 'FOR NO KEY UPDATE', remove: 'FOR UPDATE' }

export function noSuchInode(inode: InodeNumber): MetadataError {
  return new MetadataError('entry_not_found', `Cannot find inode ${inode}: there is none of this number`)
}

export function noSuchEntry(place: Place): MetadataError {
  return new MetadataError('entry_not_found', `Cannot find ${quoted(place)}: there is no such entry`)
}

export function noDirectory(inode: InodeNumber, type: InodeType): MetadataError {
  return new MetadataError('not_a_directory', `Cannot use inode ${inode} as a directory: it is a ${type}`)
}

export function nameTaken(place: Place): MetadataError {
  return new MetadataError('entry_exists', `Cannot create ${quoted(place)}: the name is taken`)
}

export function checkFile({ inode, type }: Pick<Inode, 'inode' | 'type'>): void {
  if (type === 'directory') throw new MetadataError('is_a_directory', `Cannot use inode ${inode} as a file: it is a directory`)
  if (type !== 'file') throw new InvalidArgumentError(`Cannot use inode ${inode} as a file: it is a ${type}`)
}

export function quoted({ parent, name }: Place): string {
  return `${JSON.stringify(name)} in directory ${parent}`
}

/** Locks an inode and gives it. */
export async function requireInode(queries: Queries, inode: InodeNumber, mode: LockMode): Promise<Inode> {
  const [row] = await queries.rows<InodeRow>(`SELECT ${INODE_COLUMNS} FROM ${queries.tables.inodes} i WHERE i.inode = $1 ${LOCKS[mode]}`, [inode])
  if (row === undefined) throw noSuchInode(inode)
  return inodeOf(row)
}

/** What others count on an inode. */
export interface Counts {
  readonly links: number
  readonly blockCount: number
}

/** Locks those of the inodes that are there; gives what is counted on them. */
export async function lockInodes(queries: Queries, inodes: readonly InodeNumber[], mode: LockMode): Promise<ReadonlyMap<InodeNumber, Counts>> {
  const found = await queries.rows<Pick<InodeRow, 'inode' | 'links' | 'block_count'>>(
    `SELECT inode, links, block_count FROM ${queries.tables.inodes} WHERE inode = ANY ($1::bigint[]) ORDER BY inode ${LOCKS[mode]}`,
    [inodes],
  )
  return new Map(found.map(({ inode, links, block_count: blockCount }) => [Number(inode), { links: Number(links), blockCount: Number(blockCount) }]))
}

export async function requireDirectory(queries: Queries, inode: InodeNumber): Promise<void> {
  const [row] = await queries.rows<{ type: InodeType }>(`SELECT type FROM ${queries.tables.inodes} WHERE inode = $1`, [inode])
  if (row === undefined) throw noSuchInode(inode)
  if (row.type !== 'directory') throw noDirectory(inode, row.type)
}

/** That the directory is there, and stays, and the name in it is free. */
export async function requireFree(queries: Queries, place: Place, mode: LockMode): Promise<void> {
  const [parent] = await queries.rows<{ type: InodeType; taken: boolean }>(
    `SELECT type, EXISTS (SELECT FROM ${queries.tables.entries} WHERE parent = $1 AND name = $2) AS taken FROM ${queries.tables.inodes} i WHERE inode = $1 ${LOCKS[mode]} OF i`,
    [place.parent, place.name],
  )
  if (parent === undefined) throw noSuchInode(place.parent)
  if (parent.type !== 'directory') throw noDirectory(place.parent, parent.type)
  if (parent.taken) throw nameTaken(place)
}

export async function readEntry(queries: Queries, { parent, name }: Place): Promise<EntryRecord | undefined> {
  const [row] = await queries.rows<EntryRow>(`SELECT inode, type FROM ${queries.tables.entries} WHERE parent = $1 AND name = $2`, [parent, name])
  return row === undefined ? undefined : entryOf(row)
}

export async function requireEntry(queries: Queries, place: Place): Promise<EntryRecord> {
  const entry = await readEntry(queries, place)
  if (entry !== undefined) return entry
  await requireDirectory(queries, place.parent)
  throw noSuchEntry(place)
}

export async function requireEmpty(queries: Queries, directory: InodeNumber): Promise<void> {
  const [row] = await queries.rows<{ found: boolean }>(`SELECT EXISTS (SELECT FROM ${queries.tables.entries} WHERE parent = $1) AS found`, [directory])
  if (row?.found === true) throw new MetadataError('directory_not_empty', `Cannot remove directory ${directory}: it holds entries`)
}
