/**
 * Looks into a backup without restoring it. A listing reads the stream once for the shares, and again for each
 * directory on the way that comes before its parent, which is rare; memory holds one directory.
 */
import { MetadataError } from '../errors/errors.ts'
import type { Inode, InodeNumber, InodeType, Share } from '../contracts/metadata-store.ts'
import { entriesOf, entryKey, inodeKey, nameOfEntry, textOfKey } from '../stores/level/store/keys.ts'
import type { TextRange } from '../stores/level/engine/text-database.ts'
import { isOfMetadataStore } from '../stores/level/store/content-check.ts'
import { decodeRecord } from '../stores/level/store/record-check.ts'
import { decodeEntry, decodeInode, decodeShare } from '../stores/level/store/records.ts'
import type { StoredBackup } from '../repository/stored-backup.ts'
import type { TreePath } from '../metadata/tree-path.ts'
import { type BackupPlaceOptions, openBackupRecords, type OpenRecords, recordsOf } from './backup-records.ts'

export interface BackupEntry extends Omit<Inode, 'inode' | 'type'> {
  readonly name: string
  readonly inode: InodeNumber
  readonly type: InodeType
}

export interface ListBackupOptions extends BackupPlaceOptions {
  /** An ID, the beginning of one, or "latest". */
  readonly backup: string
}

/**
 * Lists the shares of a backup, by name. Rejects with `backup_unsupported` for records of an unknown kind, and as reading a backup does.
 */
export async function listBackupShares({ backup, ...place }: ListBackupOptions): Promise<{ readonly backupId: string; readonly shares: readonly Share[] }> {
  const { backupId, open } = await openBackupRecords(backup, place)
  return { backupId, shares: await listShares(open) }
}

/**
 * Lists what is at a path of a backup: the entries of a directory in name order, or the one entry that is not a directory.
 * Rejects with `entry_not_found` and `not_a_directory`, and as `listBackupShares` does.
 */
export async function listBackupPath({ backup, path, ...place }: ListBackupOptions & { readonly path: TreePath }): Promise<{ readonly backupId: string; readonly entries: readonly BackupEntry[] }> {
  const { backupId, open } = await openBackupRecords(backup, place)
  return { backupId, entries: await withAttributes(open, await walkDown(open, path, { isListing: true })) }
}

/**
 * Checks that a path exists in a backup, and reads no further than to that path. Does nothing for records of an unknown kind.
 * Rejects with `entry_not_found` and `not_a_directory`.
 */
export async function checkBackupPath(
  backup: StoredBackup,
  { path, signal }: { readonly path: TreePath; readonly signal?: AbortSignal | undefined },
): Promise<void> {
  if (!isOfMetadataStore(backup.manifest)) return
  await walkDown(() => backup.records({ signal }), path, { isListing: false })
}

/** All shares of a backup, by name. */
async function listShares(open: OpenRecords): Promise<Share[]> {
  const shares: Share[] = []
  for await (const [key, value] of recordsOf(open, SHARES)) shares.push({ name: textOfKey(key), ...decodeRecord(key, value, decodeShare) })
  return shares
}

async function walkDown(open: OpenRecords, path: readonly string[], { isListing }: Pick<Walk, 'isListing'>): Promise<readonly ListedEntry[]> {
  const [shareName = '', ...names] = path
  const share = (await listShares(open)).find((candidate) => candidate.name === shareName)
  if (share === undefined) {
    throw new MetadataError('entry_not_found', `Cannot find share ${JSON.stringify(shareName)} in the backup`, {
      hint: 'Run "holdfast ls" without a path to see the shares',
    })
  }
  const walk: Walk = { isListing, share: shareName, number: share.root, type: 'directory', names, depth: 0, entries: [] }
  while (!hasArrived(walk) && !(await readOn(open, walk))) continue
  return walk.entries
}

interface ListedEntry {
  readonly name: string
  readonly inode: InodeNumber
  readonly type: InodeType
}

/** The state of a walk down a path. */
interface Walk {
  /** Whether to list a directory at the end of the path. */
  readonly isListing: boolean
  readonly share: string
  readonly names: readonly string[]
  /** The number of names found so far. */
  depth: number
  number: InodeNumber
  type: InodeType
  entries: ListedEntry[]
}

const SHARES: ReadonlySet<string> = new Set(['shares'])
const ENTRIES: ReadonlySet<string> = new Set(['entries'])
const INODES: ReadonlySet<string> = new Set(['inodes'])

function hasArrived({ depth, names, type, isListing }: Walk): boolean {
  return depth === names.length && !(type === 'directory' && isListing)
}

/** Reads the entries once, in key order, and walks on as far as their order allows. Resolves with whether the walk has ended. */
async function readOn(open: OpenRecords, walk: Walk): Promise<boolean> {
  const depthBefore = walk.depth
  let position = ''
  let wanted = nextWanted(walk)
  // A listing that begins behind the position must be read from the beginning of the stream.
  let listing = wanted.gte > position
  for await (const [key, value] of recordsOf(open, ENTRIES)) {
    position = key
    if (walk.depth === walk.names.length && walk.type === 'directory') {
      if (key >= wanted.lt) return listing
      if (listing && key >= wanted.gte) walk.entries.push({ name: nameOfEntry(key), ...decodeRecord(key, value, decodeEntry) })
      continue
    }
    if (key !== wanted.gte) continue
    const entry = decodeRecord(key, value, decodeEntry)
    walk.depth += 1
    walk.number = entry.inode
    walk.type = entry.type
    if (hasArrived(walk)) {
      walk.entries.push({ name: nameOfEntry(key), ...entry })
      return true
    }
    if (entry.type !== 'directory') throw notDirectory(walk)
    wanted = nextWanted(walk)
    listing = wanted.gte > position
  }
  if (walk.depth === walk.names.length) return listing
  if (walk.depth === depthBefore) throw notFound(walk)
  return false
}

/** The keys that a walk needs next: one entry, or all entries of its directory. */
function nextWanted(walk: Walk): TextRange {
  const name = walk.names[walk.depth]
  if (name === undefined) return entriesOf(walk.number)
  const key = entryKey({ parent: walk.number, name })
  return { gte: key, lt: key }
}

async function withAttributes(open: OpenRecords, entries: readonly ListedEntry[]): Promise<BackupEntry[]> {
  const wanted = new Map<string, Omit<Inode, 'inode'> | undefined>(entries.map(({ inode }) => [inodeKey(inode), undefined]))
  if (wanted.size > 0) {
    for await (const [key, value] of recordsOf(open, INODES)) {
      if (wanted.has(key)) wanted.set(key, decodeRecord(key, value, decodeInode))
    }
  }
  return entries.map((entry) => {
    const attributes = wanted.get(inodeKey(entry.inode))
    if (attributes === undefined) throw new MetadataError('entry_not_found', `Cannot find inode ${entry.inode} of ${JSON.stringify(entry.name)} in the backup`)
    return { ...attributes, ...entry }
  })
}

function notFound(walk: Walk): MetadataError {
  return new MetadataError('entry_not_found', `Cannot find ${JSON.stringify(pathOf(walk, 1))} in the backup`, {
    hint: `Run "holdfast ls" with the path to see its entries: ${JSON.stringify(pathOf(walk))}`,
  })
}

function notDirectory(walk: Walk): MetadataError {
  return new MetadataError('not_a_directory', `Cannot list ${JSON.stringify(pathOf(walk))} in the backup: it is a ${walk.type}`)
}

/** The path walked so far, and `further` names more. */
function pathOf({ share, names, depth }: Walk, further = 0): string {
  return [share, ...names.slice(0, depth + further)].join('/')
}
