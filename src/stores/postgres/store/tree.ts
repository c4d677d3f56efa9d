/** Operations on the tree: shares, inodes, entries. Each runs within a transaction; arguments have been checked. The server counts links and bytes. */
import { InternalError, InvalidArgumentError, MetadataError } from '../../../errors/errors.ts'
import { changedAttributes, newAttributes, nsOfMs } from '../../../metadata/inodes.ts'
import type { Content, Inode, InodeAttributes, InodeNumber, NewInode, Place, RenameMode, Share } from '../../../contracts/metadata-store.ts'
import { moveLockKey } from '../connection/write-lock.ts'
import { partsOf, putBlocks, removeBlocks } from './contents.ts'
import type { Queries } from './connection.ts'
import { ChangedMeanwhile } from './database.ts'
import * as nodes from './nodes.ts'
import { type EntryRecord, type ShareRow, ATTRIBUTE_COLUMNS, SHARE_COLUMNS, attributeValues, shareOf } from './rows.ts'

export interface NewShare {
  readonly name: string
  readonly createdAtMs: number
  readonly options: Readonly<Record<string, string>>
  readonly root: Partial<InodeAttributes>
}

export async function createShare(queries: Queries, share: NewShare): Promise<Share> {
  const { name, createdAtMs, options } = share
  const { shares } = queries.tables
  const taken = await queries.rows(`SELECT FROM ${shares} WHERE name = $1`, [name])
  if (taken.length > 0) throw new MetadataError('entry_exists', `Cannot create share ${JSON.stringify(name)}: the name is taken`)
  const root: NewInode = { ...share.root, type: 'directory' }
  const { inode } = await insertInode(queries, root, {
    nowMs: createdAtMs,
    named: (first) => `INSERT INTO ${shares} (name, root, created_at_ms, options) SELECT $${first}, inode, $${first + 1}, $${first + 2}::jsonb FROM made`,
    values: [name, createdAtMs, JSON.stringify(options)],
  })
  return { name, root: inode, createdAtMs, options: { ...options } }
}

export async function removeShare(queries: Queries, name: string): Promise<void> {
  const { shares, inodes } = queries.tables
  const [row] = await queries.rows<ShareRow>(`SELECT ${SHARE_COLUMNS} FROM ${shares} WHERE name = $1 FOR UPDATE`, [name])
  if (row === undefined) throw new MetadataError('entry_not_found', `Cannot remove share ${JSON.stringify(name)}: there is none of this name`)
  const { root } = shareOf(row)
  await nodes.lockInodes(queries, [root], 'remove')
  await nodes.requireEmpty(queries, root)
  await queries.rows(`WITH gone AS (DELETE FROM ${shares} WHERE name = $1) DELETE FROM ${inodes} WHERE inode = $2`, [name, root])
}

export async function createInode(queries: Queries, place: Place, { inode, nowMs }: { readonly inode: NewInode; readonly nowMs: number }): Promise<Inode> {
  // A directory becomes a link of its parent.
  await nodes.requireFree(queries, place, inode.type === 'directory' ? 'change' : 'use')
  const { blocks } = partsOf(inode.content)
  const made = await insertInode(queries, inode, {
    nowMs,
    named: (first) => `INSERT INTO ${queries.tables.entries} (parent, name, inode, type) SELECT $${first}, $${first + 1}, inode, type FROM made`,
    values: [place.parent, place.name],
  })
  await putBlocks(queries, made, blocks)
  return { ...made, blockCount: blocks.length }
}

interface Insertion {
  readonly nowMs: number
  /** The statement that names the inode in `made`; its values are numbered from `first` on. */
  readonly named: (first: number) => string
  readonly values: readonly unknown[]
}

const INSERTED: readonly string[] = ['type', 'links', 'symlink_target', 'payload_id', ...ATTRIBUTE_COLUMNS]

/** Makes an inode and its name in one statement. */
async function insertInode(queries: Queries, inode: NewInode, { nowMs, named, values }: Insertion): Promise<Inode> {
  const { type, symlinkTarget } = inode
  const { inodes, inode_numbers: numbers } = queries.tables
  const attributes = newAttributes(inode, nsOfMs(nowMs))
  const { payloadId } = partsOf(inode.content)
  const isDirectory = type === 'directory'
  const inserted = [type, isDirectory ? 2 : 0, symlinkTarget ?? null, payloadId, ...attributeValues(attributes)]
  const [row] = await queries.rows<{ inode: unknown }>(
    `WITH made AS (
       INSERT INTO ${inodes} (inode, ${INSERTED.join(', ')}) VALUES (nextval(${numbers}), ${INSERTED.map((_, at) => `$${at + 1}`).join(', ')}) RETURNING inode, type
     ), named AS (${named(INSERTED.length + 1)})
     SELECT inode FROM made`,
    [...inserted, ...values],
  )
  if (row === undefined) throw new InternalError('Cannot create an inode: the server made none')
  return { inode: Number(row.inode), type, ...attributes, links: isDirectory ? 2 : 1, symlinkTarget, payloadId: payloadId ?? undefined, blockCount: 0 }
}

export async function linkInode(queries: Queries, place: Place, inode: InodeNumber): Promise<Inode> {
  const linked = await nodes.requireInode(queries, inode, 'change')
  if (linked.type === 'directory') throw new MetadataError('is_a_directory', `Cannot link inode ${inode}: it is a directory`)
  await nodes.requireFree(queries, place, 'use')
  await queries.rows(`INSERT INTO ${queries.tables.entries} (parent, name, inode, type) VALUES ($1, $2, $3, $4)`, [place.parent, place.name, inode, linked.type])
  return { ...linked, links: linked.links + 1 }
}

export async function unlinkEntry(queries: Queries, place: Place): Promise<void> {
  const entry = await nodes.requireEntry(queries, place)
  const isDirectory = entry.type === 'directory'
  const counts = await nodes.lockInodes(queries, isDirectory ? [place.parent, entry.inode] : [entry.inode], 'remove')
  await removeEntry(queries, { place, entry, counts: counts.get(entry.inode) })
}

export interface Renaming {
  readonly from: Place
  readonly to: Place
  readonly existing: RenameMode
}

export async function renameEntry(queries: Queries, { from, to, existing }: Renaming): Promise<void> {
  const moved = await nodes.requireEntry(queries, from)
  await nodes.requireDirectory(queries, to.parent)
  const isExchange = existing === 'exchange'
  const mayMoveDirectory = (moved.type === 'directory' || isExchange) && from.parent !== to.parent
  // Before any inode is locked, so that who waits for it holds up nobody.
  if (mayMoveDirectory) await queries.rows('SELECT pg_advisory_xact_lock($1, $2)', [...moveLockKey(queries.schema)])
  const other = await nodes.readEntry(queries, to)
  if (existing === 'refuse' && other !== undefined) throw nodes.nameTaken(to)
  if (isExchange && other === undefined) throw nodes.noSuchEntry(to)
  // The same place, or two names of one file: as on POSIX, nothing happens.
  if (other?.inode === moved.inode) return
  const hasDirectory = moved.type === 'directory' || other?.type === 'directory'
  if (moved.type === 'directory') await refuseOwnDescendant(queries, moved.inode, to)
  if (isExchange && other?.type === 'directory') await refuseOwnDescendant(queries, other.inode, from)
  if (!isExchange && other !== undefined) refuseOtherType(moved, other, to)
  const touched = [moved.inode, ...(other === undefined ? [] : [other.inode]), ...(hasDirectory ? [from.parent, to.parent] : [])]
  const counts = await nodes.lockInodes(queries, touched, 'remove')
  await requireUnchanged(queries, from, moved)
  const { entries } = queries.tables
  if (other !== undefined && isExchange) {
    await requireUnchanged(queries, to, other)
    await queries.rows(`DELETE FROM ${entries} WHERE parent = $1 AND name = $2`, [to.parent, to.name])
  } else if (other !== undefined) {
    await removeEntry(queries, { place: to, entry: other, counts: counts.get(other.inode) })
  }
  await queries.rows(`UPDATE ${entries} SET parent = $3, name = $4 WHERE parent = $1 AND name = $2`, [from.parent, from.name, to.parent, to.name])
  if (other === undefined || !isExchange) return
  await queries.rows(`INSERT INTO ${entries} (parent, name, inode, type) VALUES ($1, $2, $3, $4)`, [from.parent, from.name, other.inode, other.type])
}

export async function changeAttributes(
  queries: Queries,
  inode: InodeNumber,
  options: { readonly changes: Partial<InodeAttributes>; readonly nowMs: number },
): Promise<Inode> {
  const before = await nodes.requireInode(queries, inode, 'change')
  const changes = { ...options.changes, changedAtNs: options.changes.changedAtNs ?? nsOfMs(options.nowMs) }
  const after = { ...before, ...changedAttributes(before, changes) }
  const assignments = ATTRIBUTE_COLUMNS.map((column, at) => `${column} = $${at + 2}`).join(', ')
  await queries.rows(`UPDATE ${queries.tables.inodes} SET ${assignments} WHERE inode = $1`, [inode, ...attributeValues(after)])
  return after
}

export interface NewContent {
  readonly content: Content | undefined
  readonly size: number
  readonly modifiedAtNs: bigint | undefined
  readonly nowMs: number
}

export async function changeContent(queries: Queries, inode: InodeNumber, options: NewContent): Promise<Inode> {
  const before = await nodes.requireInode(queries, inode, 'change')
  nodes.checkFile(before)
  const { payloadId, blocks } = partsOf(options.content)
  const changedAtNs = nsOfMs(options.nowMs)
  const modifiedAtNs = options.modifiedAtNs ?? changedAtNs
  if (before.blockCount > 0) await removeBlocks(queries, { inode })
  await queries.rows(`UPDATE ${queries.tables.inodes} SET size = $2, modified_at_ns = $3, changed_at_ns = $4, payload_id = $5 WHERE inode = $1`, [
    inode,
    options.size,
    String(modifiedAtNs),
    String(changedAtNs),
    payloadId,
  ])
  await putBlocks(queries, { inode }, blocks)
  return { ...before, size: options.size, modifiedAtNs, changedAtNs, payloadId: payloadId ?? undefined, blockCount: blocks.length }
}

interface Removal {
  readonly place: Place
  readonly entry: EntryRecord
  /** Of the inode, which was locked; `undefined` when it was not there any more. */
  readonly counts: nodes.Counts | undefined
}

/** Removes an entry whose inode is locked, and the inode with all that hangs on it when that was its last. */
async function removeEntry(queries: Queries, { place, entry, counts }: Removal): Promise<void> {
  const { entries, inodes } = queries.tables
  const { inode, type } = entry
  await requireUnchanged(queries, place, entry)
  if (type === 'directory') await nodes.requireEmpty(queries, inode)
  const removeName = `DELETE FROM ${entries} WHERE parent = $1 AND name = $2`
  if (type !== 'directory' && counts?.links !== 1) {
    await queries.rows(removeName, [place.parent, place.name])
    return
  }
  if (counts !== undefined && counts.blockCount > 0) await removeBlocks(queries, { inode })
  await queries.rows(`WITH gone AS (${removeName}) DELETE FROM ${inodes} WHERE inode = $3`, [place.parent, place.name, inode])
}

/** That an entry still names the inode which has been locked since: from then on it does until the transaction ends. */
async function requireUnchanged(queries: Queries, place: Place, { inode }: EntryRecord): Promise<void> {
  const found = await nodes.readEntry(queries, place)
  if (found?.inode !== inode) throw new ChangedMeanwhile(`Cannot change ${nodes.quoted(place)}: others keep changing it`)
}

function refuseOtherType(moved: EntryRecord, replaced: EntryRecord, to: Place): void {
  const isDirectory = replaced.type === 'directory'
  if (isDirectory === (moved.type === 'directory')) return
  const what = isDirectory ? 'a directory' : `a ${replaced.type}`
  throw new MetadataError(isDirectory ? 'is_a_directory' : 'not_a_directory', `Cannot replace ${nodes.quoted(to)}: it is ${what}`)
}

/** What is above a directory changes by moves only, of which there is one at a time. */
async function refuseOwnDescendant(queries: Queries, directory: InodeNumber, to: Place): Promise<void> {
  const { entries } = queries.tables
  const [row] = await queries.rows<{ found: boolean }>(
    `WITH RECURSIVE up (inode) AS (
       SELECT $1::bigint UNION SELECT e.parent FROM up JOIN ${entries} e ON e.inode = up.inode AND e.type = 'directory'
     ) SELECT EXISTS (SELECT FROM up WHERE inode = $2) AS found`,
    [to.parent, directory],
  )
  if (row?.found === true) throw new InvalidArgumentError(`Cannot move directory ${directory} to ${nodes.quoted(to)}: that is within itself`)
}
