/** Metadata stores in memory. Loads no native binding. */
import { LiveMetadataStore } from '../../metadata/live-metadata-store.ts'
import type { MetadataStore } from '../../contracts/metadata-store.ts'
import type { Swappable } from '../../contracts/swappable.ts'
import { type MemoryHomeOptions, createMemoryHome } from './memory-home.ts'

export type { MemoryHomeOptions }

/** The handle a server keeps while its engine is replaced by restores and rollbacks. */
export type MemoryStore = MetadataStore & Swappable

/** Makes an empty metadata store that lasts as long as the process. */
export async function openMemoryStore(options: MemoryHomeOptions = {}): Promise<MemoryStore> {
  return await LiveMetadataStore.open(await createMemoryHome(options))
}
