/** A LevelDB metadata store as a server opens it. */
import { failureAfter } from '../../../errors/clean-up.ts'
import { StoreIdMismatchError, StoreUnavailableError } from '../../../errors/errors.ts'
import { LiveMetadataStore } from '../../../metadata/live-metadata-store.ts'
import type { MetadataStore } from '../../../contracts/metadata-store.ts'
import type { Swappable } from '../../../contracts/swappable.ts'
import { type LevelHome, type LevelHomeOptions, openLevelHome } from './level-home.ts'

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
  try {
    await makeOrMatch(home, options)
    return await LiveMetadataStore.open(home)
  } catch (error) {
    throw await failureAfter(error, () => home.close())
  }
}

async function makeOrMatch(home: LevelHome, { create = true, storeId: wanted }: LevelStoreOptions): Promise<void> {
  const storeId = await home.readStoreId()
  if (storeId === undefined) {
    if (!create) throw new StoreUnavailableError(`Cannot open the store at "${home.path}": there is none`, { hint: 'Check the path, or make a store there first' })
    return await home.createStore(wanted)
  }
  if (wanted === undefined || wanted === storeId) return
  throw new StoreIdMismatchError(`Cannot open the store at "${home.path}" as "${wanted}": it is "${storeId}"`, { details: { expected: wanted, actual: storeId } })
}
