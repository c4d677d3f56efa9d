/** Metadata stores in memory, without a native binding. */
import { LiveMetadataStore } from '../../metadata/live-metadata-store.ts'
import type { MetadataStore } from '../../contracts/metadata-store.ts'
import type { Swappable } from '../../contracts/swappable.ts'
import { STRING, CLOCK, checkOptions, optional } from '../../util/check-options.ts'
import { type MemoryHomeOptions, createMemoryHome } from './memory-home.ts'

export type { MemoryHomeOptions }

/** The handle that a server keeps while restores and rollbacks replace the engine. */
export type MemoryStore = MetadataStore & Swappable

/** Makes an empty metadata store. It lasts as long as the process. */
export async function openMemoryStore(options: MemoryHomeOptions = {}): Promise<MemoryStore> {
  checkOptions('openMemoryStore', options, { storeId: optional(STRING), clock: optional(CLOCK) })
  return await LiveMetadataStore.open(await createMemoryHome(options))
}
