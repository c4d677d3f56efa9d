/** A home of engines in memory. A swap replaces a reference. */
import { MemoryLevel } from 'memory-level'
import { isUlid } from '../../util/ulid.ts'
import { InternalError, StoreUnavailableError } from '../../errors/errors.ts'
import { CLOSED_HINT } from '../../errors/system-codes.ts'
import { makeStore } from '../../metadata/open-store.ts'
import { checkServes } from '../../metadata/check-store.ts'
import type { EngineHome } from '../../metadata/live-metadata-store.ts'
import type { MetadataStore } from '../../contracts/metadata-store.ts'
import type { Engines, RestoreJournal, SideEngine } from '../../contracts/swappable.ts'
import { SECTION_NAMES } from '../level/store/keys.ts'
import { LevelMetadataStore } from '../level/store/level-metadata-store.ts'
import { SCHEMA_VERSION } from '../level/store/records.ts'

export interface MemoryHomeOptions {
  /** The ID of the store. @default a fresh ULID */
  readonly storeId?: string | undefined
  /** The time in milliseconds since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined
}

/** Makes a home with an empty store. */
export async function createMemoryHome(options: MemoryHomeOptions = {}): Promise<EngineHome> {
  const home = new MemoryHome(options)
  await makeStore(home, options.storeId)
  return home
}

class MemoryHome implements EngineHome {
  readonly kind = 'memory'
  readonly schemaVersion: number = SCHEMA_VERSION
  readonly sections: readonly string[] = SECTION_NAMES
  readonly #clock: (() => number) | undefined
  readonly #engines = new Map<string, MetadataStore>()
  #pointer: { readonly storeId: string; readonly engine: string; readonly previous: string | undefined } | undefined
  #journal: RestoreJournal | undefined
  /** Engines that are being made. */
  readonly #making = new Set<Promise<unknown>>()
  #closed: Promise<void> | undefined

  constructor(options: MemoryHomeOptions) {
    this.#clock = options.clock
  }

  async readStoreId(): Promise<string | undefined> {
    return this.#pointer?.storeId
  }

  async engines(): Promise<Engines> {
    const { engine: live, previous } = this.#pointer ?? {}
    return { live, previous, leftovers: [...this.#engines.keys()].filter((name) => name !== live && name !== previous) }
  }

  async freeBytes(): Promise<number | undefined> {
    return undefined
  }

  async drainWrites(): Promise<void> {}

  async drain(): Promise<void> {}

  async resume(): Promise<void> {}

  async openSide(engine: string, { storeId }: { readonly storeId: string }): Promise<SideEngine> {
    this.#checkOpen()
    if (!isUlid(engine)) throw new InternalError(`Cannot create engine "${engine}": the name is not a ULID`)
    if (this.#engines.has(engine)) throw new InternalError(`Cannot create engine "${engine}": the name is taken`)
    const making = this.#make(engine, storeId)
    this.#making.add(making)
    const store = await making.finally(() => this.#making.delete(making))
    return {
      engine,
      kind: this.kind,
      backup: (sink, options) => store.backup(sink, options),
      restore: (source, options) => store.restore(source, options),
      seal: async () => this.#checkOpen(),
      discard: () => this.removeEngine(engine),
    }
  }

  async swap(engine: string, { storeId, previous }: { readonly storeId: string; readonly previous: string | undefined }): Promise<void> {
    this.#checkOpen()
    this.#pointer = { storeId, engine, previous }
  }

  async unswap(): Promise<void> {
    this.#checkOpen()
    this.#pointer = undefined
  }

  async checkLive(): Promise<void> {
    if (this.#pointer === undefined) throw new StoreUnavailableError('Cannot open the store: there is none')
    await checkServes(await this.openEngine(this.#pointer.engine))
  }

  async removeEngine(engine: string): Promise<void> {
    if (engine === this.#pointer?.engine || engine === this.#pointer?.previous) {
      throw new InternalError(`Cannot remove engine "${engine}": it is live or kept for rollback`)
    }
    const store = this.#engines.get(engine)
    this.#engines.delete(engine)
    await store?.close()
  }

  async openEngine(engine: string): Promise<MetadataStore> {
    const store = this.#engines.get(engine)
    if (store === undefined) throw new StoreUnavailableError(`Cannot open engine "${engine}": it does not exist`)
    return store
  }

  /** Does nothing: an engine in memory would be lost. It stays until it is removed. */
  async closeEngine(): Promise<void> {}

  async readJournal(): Promise<RestoreJournal | undefined> {
    return this.#journal
  }

  async writeJournal(journal: RestoreJournal): Promise<void> {
    this.#checkOpen()
    this.#journal = journal
  }

  async clearJournal(): Promise<void> {
    this.#checkOpen()
    this.#journal = undefined
  }

  /** Waits for work under way and closes all engines. Nothing changes the home afterwards. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#making)
    const stores = [...this.#engines.values()]
    this.#engines.clear()
    await Promise.all(stores.map((store) => store.close()))
  }

  async #make(engine: string, storeId: string): Promise<MetadataStore> {
    const db = new MemoryLevel({ keyEncoding: 'utf8', valueEncoding: 'utf8' })
    const store = await LevelMetadataStore.open(db, { kind: this.kind, storeId, clock: this.#clock })
    this.#engines.set(engine, store)
    return store
  }

  #checkOpen(): void {
    if (this.#closed !== undefined) throw new StoreUnavailableError('Cannot change the store in memory: it was closed', { hint: CLOSED_HINT })
  }
}
