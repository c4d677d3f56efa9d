/** Stores in schemas of a test's own, and what is in the database around them. */
import type pg from 'pg'
import { onTestFinished } from 'vitest'
import { type PostgresHome, type PostgresStore, type PostgresStoreOptions, openPostgresHome, openPostgresStore } from '../../../src/stores/postgres/index.ts'
import { quote, sharedPool } from './schemas.ts'

type Options = Partial<PostgresStoreOptions>

/** A schema name of its own; what is built of it is dropped when the running test has finished. */
export async function schemaName(prefix = 'home'): Promise<string> {
  const pool = await sharedPool()
  const schema = `${prefix}_${Math.random().toString(36).slice(2, 10)}`
  onTestFinished(async () => {
    for (const name of await schemasLike(pool, schema)) await pool.query(`DROP SCHEMA ${quote(name)} CASCADE`)
  })
  return schema
}

/** The schemas of the database whose names begin so, sorted. */
export async function schemasLike(pool: pg.Pool, prefix: string): Promise<readonly string[]> {
  const { rows } = await pool.query<{ name: string }>(`SELECT nspname AS name FROM pg_namespace WHERE starts_with(nspname, $1) ORDER BY nspname COLLATE "C"`, [prefix])
  return rows.map(({ name }) => name)
}

/** Opens the store in a schema; closed when the running test has finished. */
export async function storeIn(schema: string, options: Options = {}): Promise<PostgresStore> {
  const store = await openPostgresStore({ connection: await sharedPool(), schema, ...options })
  onTestFinished(() => store.close())
  return store
}

/** The same for a home. */
export async function homeIn(schema: string, options: Options = {}): Promise<PostgresHome> {
  const home = await openPostgresHome({ connection: await sharedPool(), schema, ...options })
  onTestFinished(() => home.close())
  return home
}

/** Rows of one statement. */
export async function rowsOf(text: string, values: unknown[] = []): Promise<readonly Record<string, unknown>[]> {
  const { rows } = await (await sharedPool()).query<Record<string, unknown>>(text, values)
  return rows
}

/** A transaction that has run a statement and stays open until it is ended. */
export async function openTransaction(text: string): Promise<{ end(): Promise<void> }> {
  const client = await (await sharedPool()).connect()
  await client.query('BEGIN')
  await client.query(text)
  let isOver = false
  const end = async (): Promise<void> => {
    if (isOver) return
    isOver = true
    await client.query('ROLLBACK')
    client.release()
  }
  onTestFinished(end)
  return { end }
}

/** Grants as text, in an order that does not tell when they were made. */
const sorted = (grants: string): string => `(SELECT string_agg(g::text, ' ' ORDER BY g::text COLLATE "C") FROM unnest(${grants}) g)`

/** Owners, grants and default privileges of a schema and what is in it, as the server has them; the schema's own name is left out. */
export async function privilegesOf(schema: string): Promise<readonly Record<string, unknown>[]> {
  return await rowsOf(
    `WITH space AS (SELECT oid FROM pg_namespace WHERE nspname = $1)
     SELECT 'schema' AS kind, '' AS name, nspowner::regrole::text AS owner, ${sorted('nspacl')} AS grants FROM pg_namespace WHERE nspname = $1
     UNION ALL SELECT relkind::text, relname, relowner::regrole::text, ${sorted('relacl')} FROM pg_class WHERE relnamespace = (SELECT oid FROM space)
     UNION ALL SELECT 'column', attname, relname, ${sorted('attacl')} FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE attacl IS NOT NULL AND relnamespace = (SELECT oid FROM space)
     UNION ALL SELECT 'routine', proname, proowner::regrole::text, ${sorted('proacl')} FROM pg_proc WHERE pronamespace = (SELECT oid FROM space)
     UNION ALL SELECT 'default', defaclobjtype::text, defaclrole::regrole::text, ${sorted('defaclacl')} FROM pg_default_acl WHERE defaclnamespace = (SELECT oid FROM space)
     ORDER BY 1, 2, 3`,
    [schema],
  )
}
