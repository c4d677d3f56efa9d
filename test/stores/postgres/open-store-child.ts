/** Opens the store in a schema, making it where it is missing, and prints its ID. */
import { Pool } from 'pg'
import { PostgresMetadataStore } from '../../../src/stores/postgres/index.ts'

const [, , connectionString = '', schema = ''] = process.argv
const pool = new Pool({ connectionString })
const store = await PostgresMetadataStore.open(pool, { schema })
process.stdout.write(`${store.storeId}\n`)
await store.close()
await pool.end()
