/** Compares two directory trees, with code that import and export do not share. */
import { createHash } from 'node:crypto'
import { createReadStream, type BigIntStats } from 'node:fs'
import { lstat, readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'

export interface TreeComparison {
  /** Entries of the first tree, its root included. */
  readonly entries: number
  /** Bytes of content compared. */
  readonly bytes: number
  /** One line for each path that differs, and why. */
  readonly differences: readonly string[]
}

/**
 * Compares names, types, modes, hard links within the tree, link targets, modification times (to the microsecond) and content by SHA-256.
 */
export async function compareTrees(first: string, second: string): Promise<TreeComparison> {
  const total: Total = { entries: 0, bytes: 0, differences: [], firstLinks: new Map(), secondLinks: new Map() }
  await compareEntry({ first, second, path: '.' }, total)
  const { entries, bytes, differences } = total
  return { entries, bytes, differences }
}

interface Pair {
  readonly first: string
  readonly second: string
  /** The path in the report. */
  readonly path: string
}

interface Total {
  entries: number
  bytes: number
  readonly differences: string[]
  /** The first path of each inode by number; names outside the tree do not count. */
  readonly firstLinks: Map<bigint, string>
  readonly secondLinks: Map<bigint, string>
}

async function compareEntry(pair: Pair, total: Total): Promise<void> {
  total.entries += 1
  const [a, b] = await Promise.all([lstat(pair.first, { bigint: true }), lstat(pair.second, { bigint: true })])
  const differences = differentFields(a, b)
  if (!a.isDirectory() && firstPath(total.firstLinks, a.ino, pair.path) !== firstPath(total.secondLinks, b.ino, pair.path)) differences.push('hard links')
  if (differences.length > 0) total.differences.push(`${pair.path}: ${differences.join(', ')}`)
  if (differences.includes('type')) return
  if (a.isDirectory()) await compareDirectories(pair, total)
  else if (a.isSymbolicLink()) {
    const [target, otherTarget] = await Promise.all([readlink(pair.first), readlink(pair.second)])
    if (target !== otherTarget) total.differences.push(`${pair.path}: link target`)
  } else if (a.isFile()) {
    total.bytes += Number(a.size)
    const [digest, otherDigest] = await Promise.all([digestOf(pair.first), digestOf(pair.second)])
    if (digest !== otherDigest) total.differences.push(`${pair.path}: content`)
  }
}

async function compareDirectories({ first, second, path }: Pair, total: Total): Promise<void> {
  const [names, otherNames] = await Promise.all([readdir(first), readdir(second)])
  const others = new Set(otherNames)
  for (const name of names) {
    if (!others.delete(name)) total.differences.push(`${path}/${name}: missing in the second tree`)
    else await compareEntry({ first: join(first, name), second: join(second, name), path: `${path}/${name}` }, total)
  }
  for (const name of others) total.differences.push(`${path}/${name}: only in the second tree`)
}

function differentFields(a: BigIntStats, b: BigIntStats): string[] {
  const fields: string[] = []
  const typeBits = 0o170000n
  if ((a.mode & typeBits) !== (b.mode & typeBits)) return ['type']
  if (a.mode !== b.mode) fields.push('mode')
  if (!a.isDirectory() && a.size !== b.size) fields.push('size')
  if (a.mtimeNs / 1000n !== b.mtimeNs / 1000n) fields.push('modification time')
  return fields
}

function firstPath(paths: Map<bigint, string>, inode: bigint, path: string): string {
  const first = paths.get(inode) ?? path
  paths.set(inode, first)
  return first
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
  return hash.digest('hex')
}
