/** The schemas of a Postgres metadata store: the live engine, those beside it, and the records that say which is which. */
import { newUlid } from '../../../util/ulid.ts'
import { MAX_WAIT_MS, checkWholeNumber } from '../../../util/check-number.ts'
import { BOOLEAN, FUNCTION, NUMBER, type OptionKinds, STRING, CLOCK, optional } from '../../../util/check-options.ts'
import { listener } from '../../../util/listener.ts'
import { messageOf, toError } from '../../../errors/error-message.ts'
import { type HoldfastError, InternalError, RestoreInProgressError, StoreUnavailableError, isHoldfastError } from '../../../errors/errors.ts'
import { checkServes } from '../../../metadata/check-store.ts'
import { OpenEngines } from '../../../metadata/open-engines.ts'
import { type StoreHome, makeStore } from '../../../metadata/open-store.ts'
import type { MetadataStore } from '../../../contracts/metadata-store.ts'
import { recover } from '../../../restore/recover.ts'
import type { DrainOptions, Engines, RestoreJournal, SideEngine } from '../../../contracts/swappable.ts'
import { undoOnError } from '../../../errors/clean-up.ts'
import { dropEngineSchema } from './engine-removal.ts'
import { swapEngines } from './engine-swap.ts'
import { HomeLock } from './home-lock.ts'
import { checkSchemaName, controlSchema, engineSchema } from './home-names.ts'
import { type HomePointer, type HomeRecord, HomeRecords, isSchemaTaken } from './home-records.ts'
import type { PoolHandle } from '../connection/pools.ts'
import { Connection } from '../connection/connection.ts'
import { ANSWER_TIMEOUT_MS } from '../connection/answer-deadline.ts'
import { type Queryable, quoteName } from '../connection/client.ts'
import { PACE_OPTIONS } from '../snapshot/pace.ts'
import { SCHEMA_VERSION } from '../store/migrations.ts'
import { type PostgresMetadataStoreOptions, PostgresMetadataStore } from '../store/postgres-metadata-store.ts'

export interface PostgresHomeOptions extends Pick<PostgresMetadataStoreOptions, 'clock' | 'answerTimeoutMs' | 'pace' | 'connections'> {
  /** The live schema of the store. Others are beside it: `<schema>_holdfast`, `<schema>_restore_<ULID>` and `<schema>_old_<ULID>`. */
  readonly schema: string
  /** Whether a store that was made without a home may be given one: its schema stays as it is. @default false */
  readonly adopt?: boolean | undefined
  /** For how long a swap tries again while others use the tables. @default 10,000 */
  readonly swapTimeoutMs?: number | undefined
  /** Called with what could not be cleaned up and does no harm. @default process.emitWarning */
  readonly onWarning?: ((warning: Error) => void) | undefined
}

export const HOME_OPTIONS: OptionKinds<PostgresHomeOptions> = {
  ...PACE_OPTIONS,
  clock: optional(CLOCK),
  answerTimeoutMs: optional(NUMBER),
  schema: STRING,
  adopt: optional(BOOLEAN),
  swapTimeoutMs: optional(NUMBER),
  onWarning: optional(FUNCTION),
}

const FREE_SCHEMA = 'Name a schema that does not exist or is empty'
const DEFAULT_SWAP_TIMEOUT_MS = 10_000
/** How long opening waits for another process that makes, restores or recovers the same store. */
const OPEN_WAIT_MS = 10_000
const RECOVERY_WAIT_MS = 3000
/** How long a schema that is to be dropped may be in use. */
const REMOVAL_TIMEOUT_MS = 3000

/** A home of engines in schemas of one database. */
export class PostgresHome implements StoreHome {
  readonly kind = 'postgres'
  readonly schemaVersion: number = SCHEMA_VERSION
  readonly schema: string
  readonly #handle: PoolHandle
  readonly #options: PostgresHomeOptions
  readonly #swapTimeoutMs: number
  readonly #warn: (warning: Error) => void
  readonly #records: HomeRecords
  readonly #lock: HomeLock
  readonly #open: OpenEngines
  /** Any connection of the pool. */
  readonly #pool: Queryable
  #closed: Promise<void> | undefined

  /** Closes the pool with the home where it is its own. Throws `invalid_argument` when no store can be in a schema of that name. */
  constructor(handle: PoolHandle, options: PostgresHomeOptions) {
    this.schema = checkSchemaName(options.schema)
    this.#handle = handle
    const answerTimeoutMs = checkWholeNumber('answerTimeoutMs', options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS, { least: 1, most: MAX_WAIT_MS })
    this.#options = options
    this.#swapTimeoutMs = options.swapTimeoutMs ?? DEFAULT_SWAP_TIMEOUT_MS
    this.#warn = listener(options.onWarning ?? ((warning) => process.emitWarning(warning)))
    this.#records = new HomeRecords(this.schema)
    this.#lock = new HomeLock(handle.pool, { schema: this.schema, answerTimeoutMs })
    this.#open = new OpenEngines(`in schema "${this.schema}"`, openFailure)
    this.#pool = Connection.queries(handle.pool, { action: `Cannot read the records of the store in schema "${this.schema}"`, answerTimeoutMs })
  }

  /** Takes the home over: adopts it, recovers it, cleans it up. Called once, before anything else. */
  async begin({ adopt }: Pick<PostgresHomeOptions, 'adopt'>): Promise<void> {
    const home = await this.#read()
    if (home === undefined) return await this.#beginWithout({ adopt })
    const hasLeftovers = enginesOf(home).leftovers.length > 0
    if (home.journal === undefined && !hasLeftovers) return
    // Where another process restores or recovers it, the store is whole all the same: this process serves what is live meanwhile.
    if (!(await this.#isOurs())) return
    try {
      await recover(this)
      // The recovery gave the lock back. What is left over may be removed only while no other process has the lock.
      if (await this.#isOurs()) await this.#cleanUp()
    } finally {
      await this.#lock.end()
    }
  }

  /** Makes an empty store live in a home that has none, unless another process does so at the same time. */
  async createStore(storeId?: string): Promise<void> {
    await this.#lock.run(async () => this.#lock.keep(), { waitMs: OPEN_WAIT_MS })
    try {
      if ((await this.engines()).live === undefined) await makeStore(this, storeId)
    } finally {
      await this.#lock.end()
    }
  }

  async readStoreId(): Promise<string | undefined> {
    return (await this.#read())?.storeId
  }

  async engines(): Promise<Engines> {
    return enginesOf(await this.#read())
  }

  async freeBytes(): Promise<number | undefined> {
    return undefined
  }

  /** Writers of every process are refused; rejects with `restore_in_progress` when another process or handle changes the engines. */
  async drainWrites({ timeoutMs }: DrainOptions): Promise<void> {
    await this.#lock.drain(timeoutMs)
  }

  /** The same: readers in other processes are held back by the swap itself, for as long as it takes. */
  async drain({ timeoutMs }: DrainOptions): Promise<void> {
    await this.#lock.drain(timeoutMs)
  }

  async resume(): Promise<void> {
    await this.#lock.end()
  }

  async openSide(engine: string, { storeId }: { readonly storeId: string }): Promise<SideEngine> {
    const schema = engineSchema(this.schema, engine, 'restore')
    await this.#lock.run(async (session) => {
      const home = await this.#records.read(session)
      if (home?.places.has(engine) === true) throw new InternalError(`Cannot create engine "${engine}": the name is taken`)
      await session.transaction(async () => {
        if (home === undefined) await this.#records.create(session)
        await this.#records.addEngine(session, engine, 'restore')
        await session.rows(`CREATE SCHEMA ${quoteName(schema)}`)
      })
      this.#lock.keep()
    })
    const opened = { place: schema, open: () => this.#openIn(schema, { create: true, storeId }) }
    const store = await undoOnError(() => this.#open.opened(engine, opened), () => this.removeEngine(engine))
    return {
      engine,
      kind: this.kind,
      backup: (sink, options) => store.backup(sink, options),
      restore: (source, options) => store.restore(source, options),
      seal: () => this.closeEngine(engine),
      discard: () => this.removeEngine(engine),
    }
  }

  async swap(engine: string, { storeId, previous }: { readonly storeId: string; readonly previous: string | undefined }): Promise<void> {
    await this.#point({ storeId, live: engine, previous })
  }

  async unswap(): Promise<void> {
    await this.#point({ storeId: undefined, live: undefined, previous: undefined })
  }

  async checkLive(): Promise<void> {
    const { live } = await this.engines()
    if (live === undefined) throw new StoreUnavailableError(`Cannot open the store in schema "${this.schema}": there is none`)
    await checkServes(await this.openEngine(live))
  }

  async removeEngine(engine: string): Promise<void> {
    await this.#lock.run(async (session) => {
      const home = await this.#records.read(session)
      const place = home?.places.get(engine)
      if (place === undefined) return
      if (engine === home?.live || engine === home?.previous) throw new InternalError(`Cannot remove engine "${engine}": it is kept`)
      await this.closeEngine(engine)
      await session.transaction(
        async () => {
          await dropEngineSchema(session, engineSchema(this.schema, engine, place))
          await this.#records.removeEngine(session, engine)
        },
        { lock_timeout: REMOVAL_TIMEOUT_MS },
      )
    })
  }

  async openEngine(engine: string): Promise<MetadataStore> {
    const home = await this.#read()
    const place = home?.places.get(engine)
    if (place === undefined) {
      throw new StoreUnavailableError(`Cannot open engine "${engine}" of the store in schema "${this.schema}": there is none of that name`)
    }
    const schema = engineSchema(this.schema, engine, place)
    return await this.#open.opened(engine, { place: schema, open: () => this.#openIn(schema, { create: false, storeId: home?.storeId }) })
  }

  async closeEngine(engine: string): Promise<void> {
    await this.#open.close(engine)
  }

  async readJournal(): Promise<RestoreJournal | undefined> {
    return (await this.#read())?.journal
  }

  async writeJournal(journal: RestoreJournal): Promise<void> {
    await this.#lock.run((session) => this.#records.writeJournal(session, journal))
  }

  async clearJournal(): Promise<void> {
    await this.#lock.run(async (session) => {
      if ((await this.#records.read(session)) !== undefined) await this.#records.clearJournal(session)
    })
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    try {
      await this.#open.closeAll()
    } finally {
      await this.#lock.end()
      await this.#handle.close()
    }
  }

  async #point(wanted: HomePointer): Promise<void> {
    try {
      await this.#lock.run(async (session) => {
        const home = await this.#records.read(session)
        if (home === undefined) {
          if (wanted.live === undefined) return
          throw new StoreUnavailableError(`Cannot make engine "${wanted.live}" live: there is none of that name`)
        }
        if (isAt(home, wanted)) return
        if (home.live !== wanted.live) this.#lock.checkDrain()
        await swapEngines(session, { schema: this.schema, records: this.#records, home, wanted, timeoutMs: this.#swapTimeoutMs })
      })
    } catch (error) {
      // Where the connection broke in the COMMIT, only the server knows; it is asked when that transaction has ended.
      const home = await this.#lock.run((session) => this.#records.read(session)).catch(() => undefined)
      if (home === undefined || !isAt(home, wanted)) throw error
    }
    this.#lock.swapped()
  }

  async #beginWithout({ adopt }: Pick<PostgresHomeOptions, 'adopt'>): Promise<void> {
    if (!(await isSchemaTaken(this.#pool, this.schema))) return
    if (adopt !== true) {
      throw new StoreUnavailableError(`Cannot open the store in schema "${this.schema}": the schema holds tables, and there is no "${controlSchema(this.schema)}" that says they are a store's`, {
        // A caller that says `false` wants a store of its own.
        hint: adopt === false ? FREE_SCHEMA : `${FREE_SCHEMA}; or, where it is a store that was made without a home, take it over with --adopt (adopt: true)`,
      })
    }
    await this.#lock.run((session) => this.#adopt(session), { waitMs: OPEN_WAIT_MS })
  }

  async #adopt(session: Connection): Promise<void> {
    if ((await this.#records.read(session)) !== undefined) return
    const store = await this.#openIn(this.schema, { create: false })
    const { storeId } = store
    await store.close()
    const engine = newUlid()
    await session.transaction(async () => {
      await this.#records.create(session)
      await this.#records.addEngine(session, engine, 'live')
      await session.rows(this.#records.pointing({ storeId, live: engine, previous: undefined }).join('; '))
    })
  }

  /** Whether the right to change the home could be had in time; it is kept then. */
  async #isOurs(): Promise<boolean> {
    try {
      await this.#lock.run(async () => this.#lock.keep(), { waitMs: RECOVERY_WAIT_MS })
      return true
    } catch (error) {
      if (error instanceof RestoreInProgressError) return false
      throw error
    }
  }

  /** Removes what interrupted work left. It does no harm, so a failure is only worth a warning. */
  async #cleanUp(): Promise<void> {
    const { leftovers } = await this.engines()
    for (const engine of leftovers) {
      try {
        await this.removeEngine(engine)
      } catch (error) {
        this.#warn(toError(error))
      }
    }
  }

  async #openIn(schema: string, { create, storeId }: { readonly create: boolean; readonly storeId?: string | undefined }): Promise<MetadataStore> {
    const { clock, answerTimeoutMs, pace, connections } = this.#options
    return await PostgresMetadataStore.open(this.#handle.pool, { schema, storeId, create, clock, answerTimeoutMs, pace, connections })
  }

  async #read(): Promise<HomeRecord | undefined> {
    return await this.#records.read(this.#pool)
  }
}

function isAt(home: HomePointer, wanted: HomePointer): boolean {
  return home.storeId === wanted.storeId && home.live === wanted.live && home.previous === wanted.previous
}

function enginesOf(home: HomeRecord | undefined): Engines {
  const { live, previous, places } = home ?? { live: undefined, previous: undefined, places: new Map<string, never>() }
  return { live, previous, leftovers: [...places.keys()].filter((engine) => engine !== live && engine !== previous) }
}

function openFailure(schema: string, error: unknown): HoldfastError {
  return isHoldfastError(error) ? error : new StoreUnavailableError(`Cannot open the engine in schema "${schema}": ${messageOf(error)}`, { cause: error })
}
