/** Metadata stores in schemas of their own, on the server that a test file's tests share. */
import type pg from 'pg'
import { onTestFinished } from 'vitest'
import { type PostgresMetadataStoreOptions, PostgresMetadataStore } from '../../../src/stores/postgres/store/postgres-metadata-store.ts'
import { quote, sharedPool } from './schemas.ts'

/** A name that needs quoting, for a schema that is not there yet. */
export function newSchemaName(): string {
  return `holdfast store "${Math.random().toString(36).slice(2)}`
}

/** Opens a store in a schema of its own, which is dropped after the test. */
export async function openStore(options: Partial<PostgresMetadataStoreOptions> & { readonly pool?: pg.Pool } = {}): Promise<PostgresMetadataStore & { readonly schema: string }> {
  const { pool = await sharedPool(), schema = newSchemaName(), ...others } = options
  const store = await PostgresMetadataStore.open(pool, { schema, ...others })
  onTestFinished(async () => {
    await store.close()
    await dropSchema(schema)
  })
  return Object.assign(store, { schema })
}

export async function dropSchema(schema: string): Promise<void> {
  await (await sharedPool()).query(`DROP SCHEMA IF EXISTS ${quote(schema)} CASCADE`)
}
