/** The tables of a metadata store, made and brought up to date: numbered steps, each in a transaction of its own. */
import { ulid } from 'ulid'
import { RestoreInProgressError, SchemaVersionMismatchError, StoreIdMismatchError, StoreUnavailableError } from '../../errors.ts'
import { checkStoreId } from '../../metadata/validate.ts'
import { type PostgresClient, type PostgresPool, quoteName } from './snapshot/client.ts'
import { postgresError } from './snapshot/errors.ts'
import { FIRST_TABLES } from './store/tables.ts'
import { migrationLockKey, writeLockKey } from './write-lock.ts'

/** Version n of the tables is what the first n steps make. A step that was released never changes. */
const MIGRATIONS: readonly string[] = [FIRST_TABLES]

/** The version that this release reads and writes. */
export const SCHEMA_VERSION: number = MIGRATIONS.length

export interface MigrateOptions {
  readonly schema: string
  /** Whether to make a store where there is none: the schema is missing or empty. */
  readonly create: boolean
  /** The ID of a store that is made; one that exists must have it. @default a fresh ULID, or the store's own */
  readonly storeId: string | undefined
}

/**
 * Brings the schema to this release's version and gives the ID of its store. Several processes may do so at once: one works, the others wait.
 *
 * `schema_version_mismatch` when a newer release wrote it, `store_id_mismatch` when it is another store, `restore_in_progress` when there is
 * something to change while its writers are held off, `store_unavailable` when there is no store and none is to be
 * made, when the schema holds what is not a store's, and when the server does not serve.
 */
export async function migrate(pool: PostgresPool, options: MigrateOptions): Promise<string> {
  if (options.storeId !== undefined) checkStoreId(options.storeId)
  for (;;) {
    const storeId = await transact(pool, `Cannot open the schema "${options.schema}"`, (client) => step(client, options))
    if (storeId !== undefined) return storeId
  }
}

/** Makes one step; when none is left to make, gives the store's ID. */
async function step(client: PostgresClient, { schema, create, storeId }: MigrateOptions): Promise<string | undefined> {
  await client.query('SELECT pg_advisory_xact_lock($1, $2)', [...migrationLockKey(schema)])
  await checkServer(client, schema)
  const version = await versionOf(client, schema)
  if (version > SCHEMA_VERSION) {
    throw new SchemaVersionMismatchError(`Cannot open the schema "${schema}": its tables are of version ${version}, and this release has ${SCHEMA_VERSION}`, {
      hint: 'Open it with the release that wrote it',
      details: { expected: SCHEMA_VERSION, actual: version },
    })
  }
  if (version > 0) {
    const actual = await readStoreId(client, schema)
    if (storeId !== undefined && storeId !== actual) {
      throw new StoreIdMismatchError(`Cannot open the schema "${schema}" as "${storeId}": it is "${actual}"`, { details: { expected: storeId, actual } })
    }
    if (version === SCHEMA_VERSION) return actual
  } else if (!create) {
    throw new StoreUnavailableError(`Cannot open the schema "${schema}": there is no metadata store`, { hint: 'Check the schema, or make a store there first' })
  }
  await holdWriteLock(client, schema)
  if (version === 0) await makeSchema(client, schema)
  await client.query(`SELECT set_config('search_path', $1, true)`, [`${quoteName(schema)}, pg_temp`])
  await client.query(MIGRATIONS[version] ?? '')
  if (version === 0) await client.query('INSERT INTO holdfast_identity (store_id) VALUES ($1)', [storeId ?? ulid()])
  await client.query('INSERT INTO holdfast_versions (version) VALUES ($1)', [version + 1])
  return undefined
}

const OLDEST_SERVER = 150_000

async function checkServer(client: PostgresClient, schema: string): Promise<void> {
  const { rows } = await client.query(`SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding`)
  const { version, encoding } = rows[0] as { readonly version: number; readonly encoding: string }
  if (version < OLDEST_SERVER) throw new StoreUnavailableError(`Cannot open the schema "${schema}": the server is of version ${Math.trunc(version / 10_000)}, and 15 is the oldest that is supported`)
  if (encoding === 'UTF8') return
  throw new StoreUnavailableError(`Cannot open the schema "${schema}": the database is encoded in ${encoding}, and only UTF8 keeps every name`, {
    hint: 'Make a database WITH ENCODING UTF8',
  })
}

/** The version of the store in the schema; 0 when it is missing or empty. Throws when it holds something else. */
async function versionOf(client: PostgresClient, schema: string): Promise<number> {
  const { rows } = await client.query(
    `SELECT relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
     WHERE nspname = $1 AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND relpersistence <> 't'
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
     ORDER BY relname <> 'holdfast_versions', relname LIMIT 1`,
    [schema],
  )
  const [found] = rows as { readonly name: string }[]
  if (found === undefined) return 0
  if (found.name !== 'holdfast_versions') {
    throw new StoreUnavailableError(`Cannot open the schema "${schema}": it holds "${found.name}" and is no metadata store`, { hint: 'Name a schema of its own for the store' })
  }
  const versions = await client.query(`SELECT max(version) AS version FROM ${quoteName(schema)}.holdfast_versions`)
  const { version } = versions.rows[0] as { readonly version: number | null }
  if (version === null) throw new StoreUnavailableError(`Cannot open the schema "${schema}": its table "holdfast_versions" is empty`)
  return version
}

async function readStoreId(client: PostgresClient, schema: string): Promise<string> {
  const { rows } = await client.query(`SELECT store_id FROM ${quoteName(schema)}.holdfast_identity`)
  const [identity] = rows as { readonly store_id: string }[]
  if (identity === undefined) throw new StoreUnavailableError(`Cannot open the schema "${schema}": its table "holdfast_identity" is empty`)
  return identity.store_id
}

async function holdWriteLock(client: PostgresClient, schema: string): Promise<void> {
  const { rows } = await client.query('SELECT pg_try_advisory_xact_lock_shared($1, $2) AS given', [...writeLockKey(schema)])
  if ((rows[0] as { readonly given: boolean }).given) return
  throw new RestoreInProgressError(`Cannot change the tables of the schema "${schema}": it is being restored`)
}

/** The schema where it is missing, and in it the table that says it is a store's. */
async function makeSchema(client: PostgresClient, schema: string): Promise<void> {
  const { rows } = await client.query('SELECT FROM pg_namespace WHERE nspname = $1', [schema])
  if (rows.length === 0) await client.query(`CREATE SCHEMA ${quoteName(schema)}`)
  await client.query(`CREATE TABLE ${quoteName(schema)}.holdfast_versions (version integer PRIMARY KEY, migrated_at timestamptz NOT NULL DEFAULT now())`)
}

async function transact<T>(pool: PostgresPool, action: string, work: (client: PostgresClient) => Promise<T>): Promise<T> {
  const failed = (error: unknown): Error => postgresError(error, { action, badData: 'invalid' })
  const client = await pool.connect().catch((error: unknown) => {
    throw failed(error)
  })
  client.on('error', ignore)
  let isOver = false
  try {
    await client.query('BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE')
    const result = await work(client)
    await client.query('COMMIT')
    isOver = true
    return result
  } catch (error) {
    isOver = await client.query('ROLLBACK').then(() => true, () => false)
    throw failed(error)
  } finally {
    if (isOver) client.removeListener('error', ignore)
    client.release(!isOver)
  }
}

/** What breaks a connection reaches the statement that runs on it, or the next one. */
function ignore(): void {}
