/** What tests of backups share: a destination on disk, a catalog in memory, and backups that were tampered with. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MemoryLevel } from 'memory-level'
import { fsDestination } from '../../destinations/fs/index.ts'
import type { Catalog } from '../../src/contracts/catalog.ts'
import { levelCatalog } from '../../src/catalog/level/level-catalog.ts'
import type { Destination } from '../../src/contracts/destination.ts'
import { quickFiles } from '../support/faulty-files.ts'
import { tempDir } from '../support/temp-dir.ts'

export interface Place {
  readonly path: string
  readonly destination: Destination
  readonly catalog: Catalog
}

/** A fresh place for backups, and a fresh catalog. */
export async function newPlace(): Promise<Place> {
  const path = join(await tempDir(), 'backups')
  return { path, destination: fsDestination({ path, files: quickFiles }), catalog: await levelCatalog(new MemoryLevel()) }
}

/** Changes the bytes of a stored object in place. */
export function tamper(path: string, change: (bytes: Buffer) => Uint8Array): void {
  writeFileSync(path, change(readFileSync(path)))
}

/** Flips one bit. */
export function flipped(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes)
  const at = (bit >> 3) % copy.byteLength
  copy[at] = (copy[at] ?? 0) ^ (1 << (bit & 7))
  return copy
}
