/** The records that are a store's own: its ID, and the version of its records. */
import { ulid } from 'ulid'
import { SchemaVersionMismatchError, StoreIdMismatchError, StoreUnavailableError } from '../../../errors/errors.ts'
import { checkStoreId } from '../../../metadata/validate.ts'
import { SCHEMA_VERSION_KEY, STORE_ID_KEY } from './keys.ts'
import { SCHEMA_VERSION } from './records.ts'
import type { TextDatabase } from '../engine/text-database.ts'

/** Finds out whose store the database holds, or makes it one when it is empty, and gives its ID. */
export async function identifyStore(db: TextDatabase, wantedId: string | undefined): Promise<string> {
  const [storeId, schemaVersion] = await db.getMany([STORE_ID_KEY, SCHEMA_VERSION_KEY])
  if (storeId === undefined || schemaVersion === undefined) return await createStore(db, wantedId ?? ulid())
  if (schemaVersion !== String(SCHEMA_VERSION)) {
    throw new SchemaVersionMismatchError(
      `Cannot open the metadata store: its records are of schema version ${schemaVersion}, and this release has ${SCHEMA_VERSION}`,
      { hint: 'Open it with the release that wrote it' },
    )
  }
  if (wantedId !== undefined && wantedId !== storeId) {
    throw new StoreIdMismatchError(`Cannot open the metadata store as ${JSON.stringify(wantedId)}: it is ${JSON.stringify(storeId)}`)
  }
  return storeId
}

async function createStore(db: TextDatabase, storeId: string): Promise<string> {
  checkStoreId(storeId)
  if (!(await db.isEmpty())) throw new StoreUnavailableError('Cannot open the metadata store: the database holds records of something else')
  const created = new Map([
    [STORE_ID_KEY, storeId],
    [SCHEMA_VERSION_KEY, String(SCHEMA_VERSION)],
  ])
  await db.write(created, { sync: true })
  return storeId
}
