/** The tables of a metadata store, made and brought up to date: numbered steps, each in a transaction of its own. */
import { ulid } from 'ulid'
import { RestoreInProgressError, SchemaVersionMismatchError, StoreIdMismatchError, StoreUnavailableError } from '../../../errors/errors.ts'
import { noStoreHint, OTHER_ID_HINT } from '../../../metadata/refusals.ts'
import { checkStoreId } from '../../../metadata/validate.ts'
import { type PostgresPool, type Queryable, quoteName } from '../connection/client.ts'
import { Connection } from '../connection/connection.ts'
import { sqlStateOf } from '../connection/server-errors.ts'
import { FIRST_TABLES } from './tables.ts'
import { lockKey, tryLock } from '../connection/advisory-locks.ts'

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
  /** How long to wait for another process that makes the store, or brings it up to date. */
  readonly lockTimeoutMs: number
  /** How long the server may be silent while it is not at work. */
  readonly answerTimeoutMs: number
}

/** SQLSTATE: a lock was not given in time. */
const LOCK_NOT_AVAILABLE = '55P03'

/**
 * Brings the schema to this release's version and gives the ID of its store. Several processes may do so at once: one works, the others
 * wait for so long at most.
 *
 * `schema_version_mismatch` when a newer release wrote it, `store_id_mismatch` when it is another store, `restore_in_progress` when there
 * is something to change while its writers are held off, `store_unavailable` when there is no store and none is to be made, when the schema
 * holds what is not a store's, when another process is still at work on it, and when the server does not serve.
 */
export async function migrate(pool: PostgresPool, options: MigrateOptions): Promise<string> {
  if (options.storeId !== undefined) checkStoreId(options.storeId)
  const { schema, lockTimeoutMs, answerTimeoutMs } = options
  for (;;) {
    const connection = await Connection.open(pool, { action: `Cannot open the schema "${schema}"`, answerTimeoutMs })
    const storeId = await connection.use(async () => {
      await connection.begin(`BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = ${lockTimeoutMs}`)
      return await step(connection, options)
    })
    if (storeId !== undefined) return storeId
  }
}

/** Makes one step; when none is left to make, gives the store's ID. */
async function step(queries: Queryable, options: MigrateOptions): Promise<string | undefined> {
  const { schema, create, storeId } = options
  await lockOutOthers(queries, options)
  await checkServer(queries, schema)
  const version = await versionOf(queries, schema)
  if (version > SCHEMA_VERSION) {
    throw new SchemaVersionMismatchError(`Cannot open the schema "${schema}": its tables are of version ${version}, and this release has ${SCHEMA_VERSION}`, {
      hint: 'Open it with the release that wrote it',
      details: { expected: SCHEMA_VERSION, actual: version },
    })
  }
  if (version > 0) {
    const actual = await readStoreId(queries, schema)
    if (storeId !== undefined && storeId !== actual) {
      throw new StoreIdMismatchError(`Cannot open the schema "${schema}" as "${storeId}": it is "${actual}"`, {
        hint: OTHER_ID_HINT,
        details: { expected: storeId, actual },
      })
    }
    if (version === SCHEMA_VERSION) return actual
  } else if (!create) {
    throw new StoreUnavailableError(`Cannot open the schema "${schema}": there is no metadata store`, { hint: noStoreHint('schema') })
  }
  if (!(await tryLock(queries, lockKey('writes', schema), { isShared: true, until: 'transaction' }))) {
    throw new RestoreInProgressError(`Cannot change the tables of the schema "${schema}": it is being restored`)
  }
  if (version === 0) await makeSchema(queries, schema)
  await queries.rows(`SELECT set_config('search_path', $1, true)`, [`${quoteName(schema)}, pg_temp`])
  await queries.rows(MIGRATIONS[version] ?? '')
  if (version === 0) await queries.rows('INSERT INTO holdfast_identity (store_id) VALUES ($1)', [storeId ?? ulid()])
  await queries.rows('INSERT INTO holdfast_versions (version) VALUES ($1)', [version + 1])
  return undefined
}

async function lockOutOthers(queries: Queryable, { schema, lockTimeoutMs }: MigrateOptions): Promise<void> {
  try {
    await queries.rows('SELECT pg_advisory_xact_lock($1, $2)', lockKey('migrations', schema))
  } catch (error) {
    if (sqlStateOf(error) !== LOCK_NOT_AVAILABLE) throw error
    throw new StoreUnavailableError(`Cannot open the schema "${schema}": another process was making the store, or bringing it up to date, for all of ${lockTimeoutMs} ms`, {
      cause: error,
      hint: 'Try again when it has ended; where no process is at it, end the session of the server that has the lock',
      retryable: true,
      details: { sqlState: LOCK_NOT_AVAILABLE, lockTimeoutMs },
    })
  }
}

const OLDEST_SERVER = 150_000

async function checkServer(queries: Queryable, schema: string): Promise<void> {
  const [row] = await queries.rows<{ version: number; encoding: string }>(`SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding`)
  const { version, encoding } = row ?? { version: 0, encoding: '' }
  if (version < OLDEST_SERVER) throw new StoreUnavailableError(`Cannot open the schema "${schema}": the server is of version ${Math.trunc(version / 10_000)}, and 15 is the oldest that is supported`)
  if (encoding === 'UTF8') return
  throw new StoreUnavailableError(`Cannot open the schema "${schema}": the database is encoded in ${encoding}, and only UTF8 keeps every name`, {
    hint: 'Make a database WITH ENCODING UTF8',
  })
}

/** The version of the store in the schema; 0 when it is missing or empty. Throws when it holds something else. */
async function versionOf(queries: Queryable, schema: string): Promise<number> {
  const [found] = await queries.rows<{ name: string }>(
    `SELECT relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
     WHERE nspname = $1 AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND relpersistence <> 't'
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
     ORDER BY relname <> 'holdfast_versions', relname LIMIT 1`,
    [schema],
  )
  if (found === undefined) return 0
  if (found.name !== 'holdfast_versions') {
    throw new StoreUnavailableError(`Cannot open the schema "${schema}": it holds "${found.name}" and is not a metadata store`, {
      hint: 'Name a schema of its own for the store',
    })
  }
  const [row] = await queries.rows<{ version: number | null }>(`SELECT max(version) AS version FROM ${quoteName(schema)}.holdfast_versions`)
  const version = row?.version ?? null
  if (version === null) throw new StoreUnavailableError(`Cannot open the schema "${schema}": its table "holdfast_versions" is empty`)
  return version
}

async function readStoreId(queries: Queryable, schema: string): Promise<string> {
  const [identity] = await queries.rows<{ store_id: string }>(`SELECT store_id FROM ${quoteName(schema)}.holdfast_identity`)
  if (identity === undefined) throw new StoreUnavailableError(`Cannot open the schema "${schema}": its table "holdfast_identity" is empty`)
  return identity.store_id
}

/** The schema where it is missing, and in it the table that says it is a store's. */
async function makeSchema(queries: Queryable, schema: string): Promise<void> {
  const found = await queries.rows('SELECT FROM pg_namespace WHERE nspname = $1', [schema])
  if (found.length === 0) await queries.rows(`CREATE SCHEMA ${quoteName(schema)}`)
  await queries.rows(`CREATE TABLE ${quoteName(schema)}.holdfast_versions (version integer PRIMARY KEY, migrated_at timestamptz NOT NULL DEFAULT now())`)
}
