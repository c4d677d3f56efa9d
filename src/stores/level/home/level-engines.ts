/** Opens the LevelDB directories that are the engines of a home. */
import { ClassicLevel } from 'classic-level'
import { BOOLEAN, type OptionKinds, CLOCK, optional } from '../../../util/check-options.ts'
import { undoOnError } from '../../../errors/clean-up.ts'
import { StoreUnavailableError } from '../../../errors/errors.ts'
import type { MetadataStore } from '../../../contracts/metadata-store.ts'
import { STORE_ID_KEY } from '../store/keys.ts'
import { LevelMetadataStore, type LevelMetadataStoreOptions } from '../store/level-metadata-store.ts'

export interface LevelEngines {
  /** Opens an existing engine. Rejects when it is missing, empty, damaged, or of another store. */
  open(directory: string, storeId: string | undefined): Promise<MetadataStore>
  /** Creates an empty engine, tuned for filling. */
  create(directory: string, storeId: string): Promise<MetadataStore>
}

export interface LevelEnginesOptions extends Pick<LevelMetadataStoreOptions, 'durable' | 'clock'> {
  /** Whether snapshots and restores run in a worker thread, so that they do not slow down the calling thread. @default true */
  readonly multithreading?: boolean | undefined
}

export const ENGINES_OPTIONS: OptionKinds<LevelEnginesOptions> = { durable: optional(BOOLEAN), multithreading: optional(BOOLEAN), clock: optional(CLOCK) }

/** What LevelDB gathers in memory before it writes a table. Large, for filling an engine. */
const FILL_BUFFER_BYTES = 64 * 1024 * 1024

/** Metadata stores in classic-level. */
export function levelEngines({ multithreading = true, durable, clock }: LevelEnginesOptions): LevelEngines {
  const options = { durable, clock }
  return {
    async open(directory, storeId) {
      const db = new ClassicLevel(directory, { createIfMissing: false, multithreading })
      await db.open()
      return await undoOnError(async () => {
        // Refuse an empty database, which has lost its records: `LevelMetadataStore.open` would make a new store in it.
        if ((await db.get(STORE_ID_KEY)) === undefined) throw new StoreUnavailableError(`Cannot open "${directory}": there is no metadata store in it`)
        return await LevelMetadataStore.open(db, { kind: 'level', multithreading, ...options, storeId })
      }, () => db.close())
    },

    async create(directory, storeId) {
      const db = new ClassicLevel(directory, { errorIfExists: true, multithreading, writeBufferSize: FILL_BUFFER_BYTES })
      // Sealing makes all of it durable at once.
      return await LevelMetadataStore.open(db, { kind: 'level', multithreading, ...options, storeId, durable: false })
    },
  }
}
