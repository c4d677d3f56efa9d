/** Opens the store of a home, or makes one. */
import type { MetadataStore } from '../contracts/metadata-store.ts'
import type { Swappable } from '../contracts/swappable.ts'
import { undoOnError } from '../errors/clean-up.ts'
import { StoreIdMismatchError, StoreUnavailableError } from '../errors/errors.ts'
import { newUlid } from '../util/ulid.ts'
import { type EngineHome, LiveMetadataStore } from './live-metadata-store.ts'
import { noStoreHint } from './refusals.ts'
import { checkStoreId } from './validate.ts'

/** A home that can make a store. */
export interface StoreHome extends EngineHome {
  createStore(storeId?: string): Promise<void>
}

export interface OpenStoreOptions {
  /** The place of the store, to complete "the store": `at "/path"`. */
  readonly where: string
  /** The word for what the operator named: "path". */
  readonly namedBy: string
  /** Whether to make a missing store. @default true */
  readonly create?: boolean | undefined
  /** The ID of a new store; an existing store must have this ID. @default a fresh ULID, or the store's own */
  readonly storeId?: string | undefined
}

/**
 * Opens the store of a home. Closes the home after a failure.
 * Rejects with `store_id_mismatch` when it is another store, and with `store_unavailable` when there is none.
 */
export async function openStoreOf(home: StoreHome, options: OpenStoreOptions): Promise<MetadataStore & Swappable> {
  return await undoOnError(async () => {
    await makeOrMatch(home, options)
    return await LiveMetadataStore.open(home)
  }, () => home.close())
}

/** Makes an empty engine live in a home that has none. */
export async function makeStore(home: EngineHome, storeId: string = newUlid()): Promise<void> {
  checkStoreId(storeId)
  const engine = newUlid()
  const side = await home.openSide(engine, { storeId })
  await undoOnError(async () => {
    await side.seal()
    await home.swap(engine, { storeId, previous: undefined })
  }, () => side.discard())
}

async function makeOrMatch(home: StoreHome, { where, namedBy, create = true, storeId: wanted }: OpenStoreOptions): Promise<void> {
  if (create && (await home.readStoreId()) === undefined) await home.createStore(wanted)
  const storeId = await home.readStoreId()
  if (storeId === undefined) {
    throw new StoreUnavailableError(`Cannot open the store ${where}: there is none`, { hint: noStoreHint(namedBy) })
  }
  if (wanted === undefined || wanted === storeId) return
  throw new StoreIdMismatchError(`Cannot open the store ${where} as "${wanted}": its ID is "${storeId}"`, {
    hint: `Check the ${namedBy}; if it is right, name the ID of that store ("storeId"), or none`,
    details: { expected: wanted, actual: storeId },
  })
}
