/** How a home opens the LevelDB directories that are its engines. */
import { ClassicLevel } from 'classic-level'
import { failureAfter } from '../../../errors/clean-up.ts'
import { StoreUnavailableError } from '../../../errors/errors.ts'
import type { MetadataStore } from '../../../contracts/metadata-store.ts'
import { STORE_ID_KEY } from '../store/keys.ts'
import { LevelMetadataStore } from '../store/level-metadata-store.ts'

export interface LevelEngines {
  /** Opens an engine that exists; rejects with the reason when it is missing, empty, damaged, or of another store than the one named. */
  open(directory: string, storeId: string | undefined): Promise<MetadataStore>
  /** Creates an engine without records, made for being filled. */
  create(directory: string, storeId: string): Promise<MetadataStore>
}

export interface LevelEnginesOptions {
  /** Whether a mutation resolves only when it survives a power cut. @default true */
  readonly durable?: boolean | undefined
  /** Whether snapshots and restores run in a worker thread, so that the caller's keeps its pace. @default true */
  readonly multithreading?: boolean | undefined
  /** The time in milliseconds since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined
}

/** What LevelDB gathers in memory before it writes a table; large where an engine is only filled. */
const FILL_BUFFER_BYTES = 64 * 1024 * 1024

/** Metadata stores in classic-level. */
export function levelEngines({ multithreading = true, ...options }: LevelEnginesOptions): LevelEngines {
  return {
    async open(directory, storeId) {
      const db = new ClassicLevel(directory, { createIfMissing: false, multithreading })
      await db.open()
      try {
        // An empty database would be taken for one to make a store in; here it has lost its records.
        if ((await db.get(STORE_ID_KEY)) === undefined) throw new StoreUnavailableError(`Cannot open "${directory}": it holds no metadata store`)
        return await LevelMetadataStore.open(db, { kind: 'level', multithreading, ...options, storeId })
      } catch (error) {
        throw await failureAfter(error, () => db.close())
      }
    },

    async create(directory, storeId) {
      const db = new ClassicLevel(directory, { errorIfExists: true, multithreading, writeBufferSize: FILL_BUFFER_BYTES })
      // What is filled in is made durable as a whole when it is sealed.
      return await LevelMetadataStore.open(db, { kind: 'level', multithreading, ...options, storeId, durable: false })
    },
  }
}
