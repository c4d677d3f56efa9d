/** Opens a LevelDB metadata store for a server. */
import { BOOLEAN, STRING, checkArgument, checkOptions, optional } from '../../../util/check-options.ts'
import { openStoreOf } from '../../../metadata/open-store.ts'
import type { MetadataStore } from '../../../contracts/metadata-store.ts'
import type { Swappable } from '../../../contracts/swappable.ts'
import { checkStoreId } from '../../../metadata/validate.ts'
import { HOME_OPTIONS, type LevelHomeOptions, openLevelHome } from './level-home.ts'

/** The handle that a server keeps while restores and rollbacks replace the engine. Closing it releases the directory. */
export type LevelStore = MetadataStore & Swappable

export interface LevelStoreOptions extends LevelHomeOptions {
  /** Whether to make a missing store: at a path that does not exist, or is empty. @default true */
  readonly create?: boolean | undefined
  /** The ID of a new store; an existing store must have this ID. @default a fresh ULID, or the store's own */
  readonly storeId?: string | undefined
}

/**
 * Opens the metadata store in a directory. No other process can open the store until it is closed.
 * An interrupted restore is completed or undone first.
 *
 * Rejects with `store_not_drained` when another process has it open, `store_id_mismatch` when it is another store, and `store_unavailable`
 * when it is missing and `create` is false, when the path has other files in it, or when the live engine is damaged.
 * A backup can then still be restored through `openLevelHome`.
 *
 * After a failed write (a full disk, for example) the store takes no mutations, `store_unavailable`, and goes on to be read. Free space,
 * then close it and open it again. Whether a mutation that failed with `details.outcome` "unknown" was made, shows only then.
 */
export async function openLevelStore(path: string, options: LevelStoreOptions = {}): Promise<LevelStore> {
  checkArgument('openLevelStore', path, { name: 'path', kind: STRING })
  checkOptions('openLevelStore', options, { ...HOME_OPTIONS, create: optional(BOOLEAN), storeId: optional(STRING) })
  const { create, storeId, ...homeOptions } = options
  if (storeId !== undefined) checkStoreId(storeId)
  const home = await openLevelHome(path, homeOptions)
  return await openStoreOf(home, { where: `at "${home.path}"`, namedBy: 'path', create, storeId })
}
