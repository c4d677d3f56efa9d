/** Inodes and directory entries as records: reading them, requiring them, and changing what every operation changes. */
import { InternalError, MetadataError } from '../../../errors/errors.ts'
import { usedBytesOf } from '../../../metadata/inodes.ts'
import type { Inode, InodeNumber, Place } from '../../../contracts/metadata-store.ts'
import type { Transaction } from './commit-queue.ts'
import { NEXT_INODE_KEY, USED_BYTES_KEY, entriesOf, entryKey, inodeKey } from './keys.ts'
import { decodeRecord } from './record-check.ts'
import { type EntryRecord, type InodeRecord, decodeEntry, decodeInode, encodeEntry, encodeInode } from './records.ts'
import type { Reader } from '../engine/text-database.ts'

export async function readInode(reader: Reader, inode: InodeNumber): Promise<InodeRecord | undefined> {
  const key = inodeKey(inode)
  const value = await reader.get(key)
  return value === undefined ? undefined : decodeRecord(key, value, decodeInode)
}

export async function requireInode(reader: Reader, inode: InodeNumber): Promise<InodeRecord> {
  const record = await readInode(reader, inode)
  if (record === undefined) throw new MetadataError('entry_not_found', `Cannot find inode ${inode}: there is none of this number`)
  return record
}

export async function requireDirectory(reader: Reader, inode: InodeNumber): Promise<InodeRecord> {
  const record = await requireInode(reader, inode)
  if (record.type !== 'directory') throw new MetadataError('not_a_directory', `Cannot use inode ${inode} as a directory: it is a ${record.type}`)
  return record
}

export async function readEntry(reader: Reader, place: Place): Promise<EntryRecord | undefined> {
  const key = entryKey(place)
  const value = await reader.get(key)
  return value === undefined ? undefined : decodeRecord(key, value, decodeEntry)
}

export async function requireEntry(reader: Reader, place: Place): Promise<EntryRecord> {
  const entry = await readEntry(reader, place)
  if (entry !== undefined) return entry
  await requireDirectory(reader, place.parent)
  throw noSuchEntry(place)
}

export function noSuchEntry(place: Place): MetadataError {
  return new MetadataError('entry_not_found', `Cannot find ${quoted(place)}: there is no such entry`)
}

export function nameTaken(place: Place): MetadataError {
  return new MetadataError('entry_exists', `Cannot create ${quoted(place)}: the name is taken`)
}

/** That the directory is there and the name in it is free. */
export async function requireFree(reader: Reader, place: Place): Promise<void> {
  await requireDirectory(reader, place.parent)
  if ((await readEntry(reader, place)) !== undefined) throw nameTaken(place)
}

export async function requireEmpty(reader: Reader, directory: InodeNumber): Promise<void> {
  for await (const _ of reader.range(entriesOf(directory), { pageSize: 1 })) {
    throw new MetadataError('directory_not_empty', `Cannot remove directory ${directory}: it holds entries`)
  }
}

/** The inode an entry names; its absence is damage. */
export async function inodeOfEntry(reader: Reader, place: Place, entry: EntryRecord): Promise<InodeRecord> {
  const record = await readInode(reader, entry.inode)
  if (record === undefined) throw new InternalError(`Cannot read ${quoted(place)}: its inode ${entry.inode} is missing`)
  return record
}

export function putInode(transaction: Transaction, inode: InodeNumber, record: InodeRecord): void {
  transaction.put(inodeKey(inode), encodeInode(record))
}

export function putEntry(transaction: Transaction, place: Place, entry: EntryRecord): void {
  transaction.put(entryKey(place), encodeEntry(entry))
}

export async function changeLinks(transaction: Transaction, inode: InodeNumber, by: number): Promise<InodeRecord> {
  const record = await requireInode(transaction, inode)
  const changed = { ...record, links: record.links + by }
  putInode(transaction, inode, changed)
  return changed
}

/** A number that no inode of this store has had. */
export async function allocateInode(transaction: Transaction): Promise<InodeNumber> {
  const inode = await readNextInode(transaction)
  if (inode >= Number.MAX_SAFE_INTEGER) throw new InternalError('Cannot create an inode: all numbers have been used')
  transaction.put(NEXT_INODE_KEY, String(inode + 1))
  return inode
}

/** The number that the next inode gets. */
export async function readNextInode(reader: Reader): Promise<InodeNumber> {
  return Number((await readCounter(reader, NEXT_INODE_KEY)) ?? 1)
}

export async function readUsedBytes(reader: Reader): Promise<bigint> {
  return (await readCounter(reader, USED_BYTES_KEY)) ?? 0n
}

/** Counts an inode's bytes as they were before and are after a change; `undefined` for an inode that is not there. */
export async function countUsedBytes(transaction: Transaction, before: InodeRecord | undefined, after: InodeRecord | undefined): Promise<void> {
  const by = (after === undefined ? 0n : usedBytesOf(after)) - (before === undefined ? 0n : usedBytesOf(before))
  if (by !== 0n) transaction.put(USED_BYTES_KEY, String((await readUsedBytes(transaction)) + by))
}

/** The inode of a record, without what is the store's own. */
export function inodeOf(inode: InodeNumber, record: InodeRecord): Inode {
  const { type, mode, uid, gid, size, links, xattrs, symlinkTarget, payloadId, blockCount } = record
  const { accessedAtNs, modifiedAtNs, changedAtNs, createdAtNs } = record
  const times = { accessedAtNs, modifiedAtNs, changedAtNs, createdAtNs }
  return { inode, type, mode, uid, gid, size, ...times, xattrs, links, symlinkTarget, payloadId, blockCount }
}

export function quoted({ parent, name }: Place): string {
  return `${JSON.stringify(name)} in directory ${parent}`
}

async function readCounter(reader: Reader, key: string): Promise<bigint | undefined> {
  const value = await reader.get(key)
  return value === undefined ? undefined : decodeRecord(key, value, BigInt)
}
