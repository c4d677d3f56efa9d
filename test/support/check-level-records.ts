/** Whether the records of a Level metadata store fit together, also those that no interface shows. */
import type { LevelDatabase } from '../../src/stores/level/engine/text-database.ts'
import * as keys from '../../src/stores/level/store/keys.ts'
import { checkRecord } from '../../src/stores/level/store/record-check.ts'
import * as records from '../../src/stores/level/store/records.ts'

type Records = ReadonlyMap<string, string>

/** Says what does not hold; reads the whole database into memory. */
export async function checkLevelRecords(db: LevelDatabase): Promise<readonly string[]> {
  const all: Records = new Map(await db.iterator<string, string>({ keyEncoding: 'utf8', valueEncoding: 'utf8' }).all())
  for (const [key, value] of all) if (!key.startsWith('store/')) checkRecord(key, value)
  return [...checkInodes(all), ...checkBlocks(all), ...checkReferences(all), ...checkParents(all)]
}

/** Every inode is a share's root or has an entry, was given out by the counter, and what hangs on an inode has one. */
function checkInodes(all: Records): string[] {
  const named = new Set([...section(all, 'shares')].map(([, value]) => records.decodeShare(value).root))
  for (const [, value] of section(all, 'entries')) named.add(records.decodeEntry(value).inode)
  const next = Number(all.get(keys.NEXT_INODE_KEY) ?? 1)
  const problems: string[] = []
  for (const [key] of section(all, 'inodes')) {
    const inode = Number(key.slice('inodes/'.length))
    if (!named.has(inode)) problems.push(`${key}: nothing names it`)
    if (inode >= next) problems.push(`${key}: the counter is at ${next}`)
  }
  for (const [key] of section(all, 'locks')) {
    if (!all.has(`inodes/${key.split('/')[1]}`)) problems.push(`${key}: its inode is missing`)
  }
  return problems
}

/** Chunks are numbered from 0 without a gap, all but the last full, as many blocks as their owner says. */
function checkBlocks(all: Records): string[] {
  const expected = new Map<string, number>()
  const owners = [
    ...[...section(all, 'inodes')].map(([key, value]) => [key.replace('inodes', 'blocks'), records.decodeInode(value).blockCount] as const),
    ...[...section(all, 'uploads')].map(([key, value]) => [key.replace('uploads', 'upload-blocks'), records.decodeUpload(value).blockCount] as const),
  ]
  for (const [prefix, blockCount] of owners) {
    for (let chunk = 0; chunk * records.BLOCKS_PER_CHUNK < blockCount; chunk++) {
      const left = blockCount - chunk * records.BLOCKS_PER_CHUNK
      expected.set(`${prefix}/${String(chunk).padStart(8, '0')}`, Math.min(left, records.BLOCKS_PER_CHUNK))
    }
  }
  const found = new Map([...section(all, 'blocks'), ...section(all, 'upload-blocks')].map(([key, value]) => [key, records.decodeBlocks(value).length]))
  return difference(found, expected)
}

/** The index has exactly what inodes, block lists and uploads refer to. */
function checkReferences(all: Records): string[] {
  const expected = new Map<string, string>()
  for (const [key, value] of section(all, 'inodes')) {
    const { payloadId } = records.decodeInode(value)
    if (payloadId !== undefined) expected.set(`references/${payloadId} i${key.slice('inodes/'.length)}`, '')
  }
  for (const [key, value] of [...section(all, 'blocks'), ...section(all, 'upload-blocks')]) {
    const [name, owner] = key.split('/')
    for (const { payloadId } of records.decodeBlocks(value)) expected.set(`references/${payloadId} ${name === 'blocks' ? 'i' : 'u'}${owner}`, '')
  }
  return difference(new Map(section(all, 'references')), expected)
}

/** A directory's record names the directory that its entry is in; a root names itself. */
function checkParents(all: Records): string[] {
  const expected = new Map<string, number>()
  for (const [, value] of section(all, 'shares')) expected.set(keys.inodeKey(records.decodeShare(value).root), records.decodeShare(value).root)
  for (const [key, value] of section(all, 'entries')) {
    const { inode, type } = records.decodeEntry(value)
    if (type === 'directory') expected.set(keys.inodeKey(inode), Number(key.split('/')[1]))
  }
  const found = new Map<string, number>()
  for (const [key, value] of section(all, 'inodes')) {
    const { parent } = records.decodeInode(value)
    if (parent !== undefined) found.set(key, parent)
  }
  return difference(found, expected)
}

function* section(all: Records, name: keys.SectionName): Generator<[string, string]> {
  for (const [key, value] of all) if (key.startsWith(`${name}/`)) yield [key, value]
}

function difference<T extends string | number>(found: ReadonlyMap<string, T>, expected: ReadonlyMap<string, T>): string[] {
  const wrong = [...found].filter(([key, value]) => expected.get(key) !== value).map(([key, value]) => `${key}: is ${value}, not ${expected.get(key) ?? 'there'}`)
  const missing = [...expected.keys()].filter((key) => !found.has(key)).map((key) => `${key}: is missing`)
  return [...wrong, ...missing]
}
