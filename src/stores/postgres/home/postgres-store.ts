/** A Postgres metadata store as a server opens it. */
import { checkWaitMs } from '../../../util/check-number.ts'
import { BOOLEAN, type OptionKinds, STRING, checkOptions, optional } from '../../../util/check-options.ts'
import { openStoreOf } from '../../../metadata/open-store.ts'
import type { MetadataStore } from '../../../contracts/metadata-store.ts'
import { checkStoreId } from '../../../metadata/validate.ts'
import type { Swappable } from '../../../contracts/swappable.ts'
import { closing, undoOnError } from '../../../errors/clean-up.ts'
import { poolHandle } from '../connection/pools.ts'
import { checkPace } from '../snapshot/pace.ts'
import { HOME_OPTIONS, PostgresHome, type PostgresHomeOptions } from './postgres-home.ts'
import { CONNECTION, type PostgresPool } from '../connection/client.ts'

/** The handle a server keeps while its engine is replaced by restores and rollbacks. */
export type PostgresStore = MetadataStore & Swappable

export interface OpenPostgresHomeOptions extends PostgresHomeOptions {
  /**
   * A pool of at least three connections, which stays the caller's; or a URL such as `postgres://user:password@host/database`, of which one
   * is made and closed with the store.
   */
  readonly connection: PostgresPool | string
}

export interface PostgresStoreOptions extends OpenPostgresHomeOptions {
  /** Whether to make a store where there is none. @default true */
  readonly create?: boolean | undefined
  /** The ID of a store that is made; one that exists must have it. @default a fresh ULID, or the store's own */
  readonly storeId?: string | undefined
}

const OPTIONS: OptionKinds<OpenPostgresHomeOptions> = { ...HOME_OPTIONS, connection: CONNECTION }

/**
 * Opens the home of a store, for restoring into it or rolling it back without serving it. The live engine may be damaged, and there may be
 * none: the first restore makes it. A restore that was interrupted is completed or undone, and what it left over is removed, unless another
 * process is at it.
 *
 * Other processes may have the same store open: their writers are refused while it is restored, and their readers move to the restored
 * engine. The role makes schemas in the database and owns them, or is a member of their owner. Connections must be to the server itself, or
 * to a pooler that keeps a session for each client.
 *
 * A view or function of others that names the tables stays with the engine it was made for; it is never dropped with that engine.
 *
 * `invalid_argument` for a schema whose name cannot be used; `store_unavailable` when the server cannot be reached, the schema holds
 * something else, or it is a store without a home that was not asked to be adopted. `RangeError` for a `swapTimeoutMs` that is not from 0
 * to a day, or `connections` that are not 1 to 16.
 */
export async function openPostgresHome(options: OpenPostgresHomeOptions): Promise<PostgresHome> {
  checkOptions('openPostgresHome', options, OPTIONS)
  checkWaitMs('swapTimeoutMs', options.swapTimeoutMs ?? 0)
  checkPace(options)
  const handle = await poolHandle(options.connection)
  const home = await undoOnError(async () => new PostgresHome(handle, options), () => handle.close())
  await undoOnError(() => home.begin({ adopt: options.adopt }), () => home.close())
  return home
}

/**
 * Reads the ID of the store in a schema, which is not opened for that; `undefined` where there is none with a home. Rejects with
 * `store_unavailable`.
 */
export async function readPostgresStoreId(options: Pick<OpenPostgresHomeOptions, 'connection' | 'schema'>): Promise<string | undefined> {
  checkOptions('readPostgresStoreId', options, { connection: CONNECTION, schema: STRING })
  return await closing(new PostgresHome(await poolHandle(options.connection), options), async (home) => await home.readStoreId())
}

/**
 * Opens the metadata store in a schema, as `openPostgresHome` does the home.
 *
 * `store_id_mismatch` when it is another store, `store_unavailable` when there is none and none is to be made, or when the live engine is
 * damaged: then a backup can still be restored through `openPostgresHome`.
 */
export async function openPostgresStore(options: PostgresStoreOptions): Promise<PostgresStore> {
  checkOptions('openPostgresStore', options, { ...OPTIONS, create: optional(BOOLEAN), storeId: optional(STRING) })
  const { create, storeId, ...homeOptions } = options
  if (storeId !== undefined) checkStoreId(storeId)
  const home = await openPostgresHome(homeOptions)
  return await openStoreOf(home, { where: `in schema "${home.schema}"`, namedBy: 'name of the schema', create, storeId })
}
