/** Schemas that are backed up and restored as they are made, and what is in them whichever partitions the rows are in. */
import type { Pool } from 'pg'
import { onTestFinished } from 'vitest'
import type { Backupable } from '../../../src/contracts/backupable.ts'
import { type PostgresBackupableOptions, postgresBackupable } from '../../../src/stores/postgres/snapshot/postgres-backupable.ts'
import { inSchema, newSchema, quote, sharedPool } from './schemas.ts'

export const NO_PAYLOADS = 'SELECT NULL::text WHERE false'

export interface Made {
  readonly pool: Pool
  readonly schema: string
  readonly store: Backupable
  /** Runs statements with the schema as the search path. */
  readonly run: (text: string) => Promise<void>
}

/** A schema that is dropped when the test has finished. */
export async function made(tables: string, options: Partial<PostgresBackupableOptions> = {}, payloadIds: string = NO_PAYLOADS): Promise<Made> {
  const pool = await sharedPool()
  const { schema, drop } = await newSchema(pool, tables)
  onTestFinished(drop)
  const store = postgresBackupable(pool, { schema, payloadIds, schemaVersion: 1, worker: false, ...options })
  return { pool, schema, store, run: async (text) => void (await inSchema(pool, schema, (client) => client.query(text))) }
}

/** The rows of each table with those of its partitions, and where the sequences stand, as text. */
export async function contentOf({ pool, schema }: Pick<Made, 'pool' | 'schema'>): Promise<string> {
  return await inSchema(pool, schema, async (client) => {
    const { rows } = await client.query<{ name: string; relkind: string; columns: string | null }>(
      `SELECT relname AS name, relkind, (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attname) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) AS columns
       FROM pg_class c WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'p', 'S') AND NOT relispartition ORDER BY relname COLLATE "C"`,
      [quote(schema)],
    )
    const lines: string[] = []
    for (const { name, relkind, columns } of rows) {
      const list = relkind === 'S' ? 'last_value, is_called' : (columns ?? '')
      const found = await client.query<{ text: string | null }>(`SELECT string_agg(t::text, E'\\n' ORDER BY t::text COLLATE "C") AS text FROM (SELECT ${list} FROM ${quote(name)}) t`)
      lines.push(name, found.rows[0]?.text ?? '')
    }
    return lines.join('\n')
  })
}
