/**
 * Compares two backups of one store. Both streams are in key order, so one pass compares them side by side; a second pass finds the
 * paths. Memory grows with the number of changes and of directories, not with that of files.
 */
import type { InodeNumber, InodeType } from '../contracts/metadata-store.ts'
import { StoreIdMismatchError } from '../errors/errors.ts'
import { nameOfEntry } from '../stores/level/store/keys.ts'
import { decodeRecord } from '../stores/level/store/record-check.ts'
import { decodeEntry, decodeInode, type InodeRecord } from '../stores/level/store/records.ts'
import { type BackupPlaceOptions, openBackupRecords, type OpenRecords, recordsOf } from './backup-records.ts'
import { EntryPaths } from './entry-paths.ts'

export type ChangeKind = 'added' | 'removed' | 'renamed' | 'modified'

export interface Change {
  readonly change: ChangeKind
  readonly path: string
  readonly type: InodeType
  /** The old path of a renamed entry. */
  readonly from?: string | undefined
  /** The differing fields of a modified inode, such as `content`. */
  readonly fields?: readonly string[] | undefined
}

export interface BackupDiff {
  /** The IDs of the older and the newer backup. */
  readonly from: string
  readonly to: string
  readonly changes: readonly Change[]
  /** How many records of each section were added, removed and changed. */
  readonly records: Readonly<Record<string, { added: number; removed: number; changed: number }>>
}

export interface DiffBackupsOptions extends BackupPlaceOptions {
  /** An ID, the beginning of one, or "latest"; likewise `newer`. */
  readonly older: string
  readonly newer: string
}

/**
 * Compares two backups of one store. Rejects with `store_id_mismatch` when they are of different stores, with `backup_unsupported` for
 * records of an unknown kind, and as reading a backup does.
 */
export async function diffBackups({ older: olderId, newer: newerId, ...place }: DiffBackupsOptions): Promise<BackupDiff> {
  const older = await openBackupRecords(olderId, place)
  const newer = await openBackupRecords(newerId, place)
  if (older.manifest.storeId !== newer.manifest.storeId) {
    throw new StoreIdMismatchError(`Cannot compare "${older.backupId}" with "${newer.backupId}": they are of different stores`, {
      hint: 'Inode numbers mean nothing across stores; name two backups of one store',
    })
  }
  const collector = new DiffCollector()
  await mergeRecords(older.open, newer.open, (key, before, after) => collector.add(key, before, after))
  // A removed entry has its own name, so only directories are looked up in the older backup.
  const [oldPaths, newPaths] = [new EntryPaths([]), new EntryPaths(collector.modified.keys())]
  if (collector.needsPaths) {
    await oldPaths.read(older.open)
    await newPaths.read(newer.open)
  }
  return { from: older.backupId, to: newer.backupId, changes: collector.changes(oldPaths, newPaths), records: collector.records }
}

/** All sections but the index of references and the counters, which follow from the others. */
const COMPARED: ReadonlySet<string> = new Set(['blocks', 'entries', 'inodes', 'locks', 'settings', 'shares', 'upload-blocks', 'uploads'])

/** Calls `differ` for each key whose values differ. */
async function mergeRecords(
  older: OpenRecords,
  newer: OpenRecords,
  differ: (key: string, before: string | undefined, after: string | undefined) => void,
): Promise<void> {
  const left = recordsOf(older, COMPARED)[Symbol.asyncIterator]()
  const right = recordsOf(newer, COMPARED)[Symbol.asyncIterator]()
  try {
    let [a, b] = [await left.next(), await right.next()]
    while (a.done !== true || b.done !== true) {
      if (b.done === true || (a.done !== true && a.value[0] < b.value[0])) {
        if (a.done === true) continue
        differ(a.value[0], a.value[1], undefined)
        a = await left.next()
      } else if (a.done === true || b.value[0] < a.value[0]) {
        differ(b.value[0], undefined, b.value[1])
        b = await right.next()
      } else {
        if (a.value[1] !== b.value[1]) differ(a.value[0], a.value[1], b.value[1])
        a = await left.next()
        b = await right.next()
      }
    }
  } finally {
    await left.return?.()
    await right.return?.()
  }
}

interface Place {
  readonly parent: InodeNumber
  readonly name: string
  readonly inode: InodeNumber
  readonly type: InodeType
}

class DiffCollector {
  readonly records: Record<string, { added: number; removed: number; changed: number }> = {}
  readonly modified = new Map<InodeNumber, { readonly type: InodeType; readonly fields: readonly string[] }>()
  readonly #added: Place[] = []
  readonly #removed: Place[] = []
  /** Inodes whose block lists differ; they come before the inodes in key order. */
  readonly #otherBlocks = new Set<InodeNumber>()

  add(key: string, before: string | undefined, after: string | undefined): void {
    const section = key.slice(0, key.indexOf('/'))
    const counts = (this.records[section] ??= { added: 0, removed: 0, changed: 0 })
    if (before === undefined) counts.added += 1
    else if (after === undefined) counts.removed += 1
    else counts.changed += 1
    if (section === 'entries') this.#addEntry(key, before, after)
    else if (section === 'blocks') this.#otherBlocks.add(inodeOfKey(key))
    else if (section === 'inodes' && before !== undefined && after !== undefined) this.#addInode(key, before, after)
  }

  get needsPaths(): boolean {
    return this.#added.length + this.#removed.length + this.modified.size > 0
  }

  /** The changes by path. A removed and an added entry of one inode are a rename; of one path, a modification. */
  changes(oldPaths: EntryPaths, newPaths: EntryPaths): Change[] {
    const changes: Change[] = []
    const renamedFrom = new Map(this.#removed.map((place) => [place.inode, place]))
    const gone = new Map(this.#removed.map((place) => [oldPaths.pathOf(place), place]))
    for (const place of this.#added) {
      const path = newPaths.pathOf(place)
      const before = renamedFrom.get(place.inode)
      const replaced = gone.get(path)
      if (replaced !== undefined && replaced.type === place.type) {
        changes.push({ change: 'modified', path, type: place.type, fields: ['inode'] })
        gone.delete(path)
      } else if (before !== undefined && gone.get(oldPaths.pathOf(before)) === before) {
        const from = oldPaths.pathOf(before)
        changes.push({ change: 'renamed', path, type: place.type, from })
        gone.delete(from)
        renamedFrom.delete(place.inode)
      } else {
        changes.push({ change: 'added', path, type: place.type })
      }
    }
    for (const [path, { type }] of gone) changes.push({ change: 'removed', path, type })
    for (const [inode, { type, fields }] of this.modified) changes.push({ change: 'modified', path: newPaths.pathOfInode(inode), type, fields })
    return changes.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
  }

  #addEntry(key: string, before: string | undefined, after: string | undefined): void {
    const [parent, name] = [inodeOfKey(key), nameOfEntry(key)]
    if (before !== undefined) this.#removed.push({ parent, name, ...decodeRecord(key, before, decodeEntry) })
    if (after !== undefined) this.#added.push({ parent, name, ...decodeRecord(key, after, decodeEntry) })
  }

  #addInode(key: string, before: string, after: string): void {
    const inode = inodeOfKey(key)
    const [old, now] = [decodeRecord(key, before, decodeInode), decodeRecord(key, after, decodeInode)]
    const fields = changedFields(old, now)
    if (this.#otherBlocks.has(inode) && !fields.includes('content')) fields.unshift('content')
    if (fields.length > 0) this.modified.set(inode, { type: now.type, fields })
  }
}

const PLAIN_FIELDS = ['mode', 'uid', 'gid', 'size', 'modifiedAtNs', 'symlinkTarget'] as const

/** The differing fields. Consequences of other changes are left out: link counts, and times and sizes of directories. */
function changedFields(before: InodeRecord, after: InodeRecord): string[] {
  const fields: string[] = []
  if (before.payloadId !== after.payloadId || before.blockCount !== after.blockCount) fields.push('content')
  for (const field of PLAIN_FIELDS) {
    if (after.type === 'directory' && (field === 'modifiedAtNs' || field === 'size')) continue
    if (before[field] !== after[field]) fields.push(field)
  }
  if (!sameXattrs(before.xattrs, after.xattrs)) fields.push('xattrs')
  return fields
}

function sameXattrs(before: ReadonlyMap<string, Uint8Array>, after: ReadonlyMap<string, Uint8Array>): boolean {
  if (before.size !== after.size) return false
  for (const [name, value] of before) {
    const other = after.get(name)
    if (other === undefined || Buffer.compare(value, other) !== 0) return false
  }
  return true
}

/** The inode number after the section in a key. */
function inodeOfKey(key: string): InodeNumber {
  const start = key.indexOf('/') + 1
  const end = key.indexOf('/', start)
  return Number(key.slice(start, end === -1 ? undefined : end))
}
