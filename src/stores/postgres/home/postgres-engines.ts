/** How a home opens the schemas that are its engines. */
import type { MetadataStore } from '../../../contracts/metadata-store.ts'
import { SCHEMA_VERSION } from '../store/migrations.ts'
import { type PostgresMetadataStoreOptions, PostgresMetadataStore } from '../store/postgres-metadata-store.ts'
import type { PostgresPool } from '../connection/client.ts'

export interface PostgresEngines {
  /** The version of the records of its engines. */
  readonly schemaVersion: number
  /** Opens an engine that exists; rejects with the reason when it is missing, empty, damaged, or of another store than the one named. */
  open(schema: string, storeId: string | undefined): Promise<MetadataStore>
  /** Makes a store without records in an empty schema. */
  create(schema: string, storeId: string): Promise<MetadataStore>
}

export type PostgresEnginesOptions = Pick<PostgresMetadataStoreOptions, 'clock' | 'answerTimeoutMs' | 'pace' | 'connections'>

/** Metadata stores in the schemas of a database. The pool stays the caller's. */
export function postgresEngines(pool: PostgresPool, { clock, answerTimeoutMs, pace, connections }: PostgresEnginesOptions): PostgresEngines {
  const options = { clock, answerTimeoutMs, pace, connections }
  return {
    schemaVersion: SCHEMA_VERSION,
    open: (schema, storeId) => PostgresMetadataStore.open(pool, { schema, storeId, create: false, ...options }),
    create: (schema, storeId) => PostgresMetadataStore.open(pool, { schema, storeId, create: true, ...options }),
  }
}
