/** The store's own records: its ID, and the version of its records. */
import { ulid } from 'ulid'
import { SchemaVersionMismatchError, StoreIdMismatchError, StoreUnavailableError } from '../../../errors/errors.ts'
import { OTHER_ID_HINT } from '../../../metadata/refusals.ts'
import { checkStoreId } from '../../../metadata/validate.ts'
import { SCHEMA_VERSION_KEY, STORE_ID_KEY } from './keys.ts'
import { SCHEMA_VERSION } from './records.ts'
import type { TextDatabase } from '../engine/text-database.ts'

/** Reads the ID of the store in a database, or makes a store in an empty one. */
export async function identifyStore(db: TextDatabase, wantedId: string | undefined): Promise<string> {
  const [storeId, schemaVersion] = await db.getMany([STORE_ID_KEY, SCHEMA_VERSION_KEY])
  if (storeId === undefined || schemaVersion === undefined) return await createStore(db, wantedId ?? ulid())
  if (schemaVersion !== String(SCHEMA_VERSION)) {
    throw new SchemaVersionMismatchError(
      `Cannot open the metadata store: it has schema version ${schemaVersion}, this release reads ${SCHEMA_VERSION}`,
      { hint: 'Open the store with the release that wrote it' },
    )
  }
  if (wantedId !== undefined && wantedId !== storeId) {
    throw new StoreIdMismatchError(`Cannot open the metadata store as ${JSON.stringify(wantedId)}: its ID is ${JSON.stringify(storeId)}`, { hint: OTHER_ID_HINT })
  }
  return storeId
}

async function createStore(db: TextDatabase, storeId: string): Promise<string> {
  checkStoreId(storeId)
  if (!(await db.isEmpty())) throw new StoreUnavailableError('Cannot open the metadata store: the database has other records in it')
  const created = new Map([
    [STORE_ID_KEY, storeId],
    [SCHEMA_VERSION_KEY, String(SCHEMA_VERSION)],
  ])
  await db.write(created, { sync: true })
  return storeId
}
