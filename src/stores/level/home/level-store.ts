/** A LevelDB metadata store as a server opens it. */
import { openStoreOf } from '../../../metadata/open-store.ts'
import type { MetadataStore } from '../../../contracts/metadata-store.ts'
import type { Swappable } from '../../../contracts/swappable.ts'
import { type LevelHomeOptions, openLevelHome } from './level-home.ts'

/** The handle a server keeps while its engine is replaced by restores and rollbacks. Closing it gives the directory back. */
export type LevelStore = MetadataStore & Swappable

export interface LevelStoreOptions extends LevelHomeOptions {
  /** Whether to make a store where there is none: at a path that does not exist, or is empty. @default true */
  readonly create?: boolean | undefined
  /** The ID of a store that is made; one that exists must have it. @default a fresh ULID, or the store's own */
  readonly storeId?: string | undefined
}

/**
 * Opens the metadata store in a directory, alone: no other process can open it until it is closed. An interrupted restore is completed or
 * undone first.
 *
 * `store_not_drained` when another process has it open, `store_id_mismatch` when it is another store, `store_unavailable` when there is
 * none and none is to be made, when the path holds something else, or when the live engine is damaged: then a backup can
 * still be restored through `openLevelHome`.
 */
export async function openLevelStore(path: string, options: LevelStoreOptions = {}): Promise<LevelStore> {
  const home = await openLevelHome(path, options)
  const { create, storeId } = options
  return await openStoreOf(home, { where: `at "${home.path}"`, namedBy: 'path', create, storeId })
}
