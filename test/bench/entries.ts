/** Entries like the inode records of a metadata store, about 330 bytes each, and databases full of them. */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import type { BenchContext } from './bench.ts'

export type Entry = readonly [key: string, value: string]

/** What payload IDs are like: digests, in no order at all, or IDs that begin with a counter or a time, in the order of the keys. */
export type IdOrder = 'none' | 'ascending'

/** Ordered by key. */
export function entryOf(index: number, order: IdOrder): Entry {
  const digest = createHash('sha256').update(`payload ${index}`).digest('hex')
  const payloadId = order === 'none' ? digest : index.toString(16).padStart(12, '0') + digest.slice(12)
  const timeNs = 1_700_000_000_000_000_000n + BigInt(index) * 1_000_003n
  return [
    `inodes/${String(index + 1).padStart(16, '0')}`,
    `{"type":"file","mode":420,"uid":1000,"gid":1000,"size":${(index * 7919) % 1_000_000},"links":1,"accessedAtNs":"${timeNs}"` +
      `,"modifiedAtNs":"${timeNs}","changedAtNs":"${timeNs}","createdAtNs":"${timeNs}","payloadId":"${payloadId}"}`,
  ]
}

/** The payload ID of an entry's value: what a careful embedder would write. */
export function payloadIdOfValue(value: string): string {
  // The last of the fields, and always as long.
  if (!value.endsWith('"}') || !value.startsWith('"payloadId":"', value.length - 79)) throw new TypeError('The value has no payload ID')
  return value.slice(-66, -2)
}

/** How the store's server opens it. */
export const OPEN_OPTIONS = { multithreading: true } as const

/** Makes a compacted database of so many entries once per run; gives its directory. */
export async function filledDatabase({ directory }: Pick<BenchContext, 'directory'>, entries: number, order: IdOrder = 'ascending'): Promise<string> {
  const path = join(directory, `entries-${order}-${entries}`)
  if (existsSync(path)) return path
  await fill(path, entries, (index) => entryOf(index, order))
  return path
}

/** The records of a share's root and of its counters, besides three for each file. */
const OTHER_RECORDS = 4
const ROOT = '0000000000000001'

/**
 * The same number of records as a metadata store keeps them: of each file an entry in one directory, an inode and the reference to its
 * payload, the references in the order of the payload IDs.
 */
export async function filledMetadataStore({ directory }: Pick<BenchContext, 'directory'>, entries: number): Promise<string> {
  const path = join(directory, `metadata-${entries}`)
  if (existsSync(path)) return path
  const files = Math.floor((entries - OTHER_RECORDS) / 3)
  let usedBytes = 0
  const recordAt = (index: number): Entry => {
    const at = index % files
    const [key, value] = entryOf(at + 1, 'none')
    const inode = key.slice(7)
    if (index < files) return [`entries/${ROOT}/file-${inode}`, `{"inode":${at + 2},"type":"file"}`]
    if (index < 2 * files) {
      usedBytes += (JSON.parse(value) as { readonly size: number }).size
      return [key, value]
    }
    if (index < 3 * files) return [`references/${payloadIdOfValue(value)} i${inode}`, '']
    const times = `"accessedAtNs":"0","modifiedAtNs":"0","changedAtNs":"0","createdAtNs":"0"`
    const others: readonly Entry[] = [
      ['counters/next-inode', String(files + 2)],
      ['counters/used-bytes', String(usedBytes)],
      [`inodes/${ROOT}`, `{"type":"directory","mode":493,"uid":0,"gid":0,"size":0,"links":2,${times},"parent":1}`],
      ['shares/files', '{"root":1,"createdAtMs":0,"options":[]}'],
    ]
    return others[index - 3 * files] as Entry
  }
  await fill(path, 3 * files + OTHER_RECORDS, recordAt)
  return path
}

const BATCH = 1000

async function fill(path: string, entries: number, entryAt: (index: number) => Entry): Promise<void> {
  const db = new ClassicLevel(path, { writeBufferSize: 64 * 1024 * 1024 })
  await db.open()
  try {
    for (let from = 0; from < entries; from += BATCH) {
      const batch = db.batch()
      for (let index = from; index < Math.min(entries, from + BATCH); index++) batch.put(...entryAt(index))
      await batch.write()
    }
    // As a database that has been in service for a while: everything in tables.
    await db.compactRange('', '~')
  } finally {
    await db.close()
  }
}
