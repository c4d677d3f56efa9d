/** The one step that makes another engine live: schemas renamed and records changed in one transaction. */
import { setTimeout as delay } from 'node:timers/promises'
import { StoreNotDrainedError, StoreUnavailableError } from '../../../errors/errors.ts'
import { followingGrants } from './engine-grants.ts'
import { type EnginePlace, engineSchema } from './home-names.ts'
import type { HomePointer, HomeRecord, HomeRecords } from './home-records.ts'
import { quoteName } from '../connection/client.ts'
import { lockKey, tryLock } from '../connection/advisory-locks.ts'
import type { Connection } from '../connection/connection.ts'
import { sqlStateOf } from '../connection/server-errors.ts'

export interface EngineSwap {
  readonly schema: string
  readonly records: HomeRecords
  readonly home: HomeRecord
  readonly wanted: HomePointer
  /** For how long to try again where tables or writers are not let go. */
  readonly timeoutMs: number
}

/** How long one attempt may wait for one lock, and, as a multiple of that, for all of them: readers queue behind it for as long. */
const LOCK_TIMEOUT_MS = 100
const LOCKS_TIMEOUT_FACTOR = 2.5
/** Postgres cancels a blocking automatic VACUUM only after `deadlock_timeout`; the swap waits this much longer than that. */
const VACUUM_SLACK_MS = 300
/** How long readers are left alone between two attempts: twice as long each time, up to the most. */
const FIRST_PAUSE_MS = 25
const LONGEST_PAUSE_MS = 400
/** SQLSTATE: a lock was not given in time, the statement took too long, a deadlock. */
const IN_THE_WAY: readonly unknown[] = ['55P03', '57014', '40P01']
/** SQLSTATE: what is to be dropped is not empty. */
const NOT_EMPTY = '2BP01'

/**
 * Makes what is in service what the pointer says. All readers have left the tables of the live engine then, and none sees tables of both
 * engines at once. Owners, grants and default privileges of the live schema are those of the next one.
 *
 * `store_not_drained` when the tables were in use all the time, or writers are at work; nothing was changed.
 */
export async function swapEngines(session: Connection, swap: EngineSwap): Promise<void> {
  const deadline = performance.now() + swap.timeoutMs
  let lockTimeoutMs = LOCK_TIMEOUT_MS
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
    try {
      return await session.transaction(() => swapOnce(session, swap, lockTimeoutMs), { lock_timeout: lockTimeoutMs })
    } catch (error) {
      if (!IN_THE_WAY.includes(sqlStateOf(error))) throw error
      if (performance.now() + pauseMs > deadline) throw await notDrained(session, error, swap)
    }
    lockTimeoutMs = (await vacuumPatienceMs(session, swap)) ?? LOCK_TIMEOUT_MS
    await delay(pauseMs * (0.5 + Math.random() / 2))
  }
}

async function swapOnce(session: Connection, swap: EngineSwap, lockTimeoutMs: number): Promise<void> {
  const { home, wanted, records } = swap
  const renames = home.live === wanted.live ? [] : await preparedRenames(session, swap, lockTimeoutMs)
  await session.rows([...renames, ...records.pointing(wanted)].join('; '))
}

/** Locks the live tables, and gives the statements that rename. A schema that was lost is passed over: the live check reports it. */
async function preparedRenames(session: Connection, { home, wanted, schema }: EngineSwap, lockTimeoutMs: number): Promise<readonly string[]> {
  // Until the transaction ends; where the session has drained the store it has this lock already.
  if (!(await tryLock(session, lockKey('writes', schema), { until: 'transaction' }))) {
    throw new StoreNotDrainedError(`Cannot swap the engines of the store in schema "${schema}": others write to it`, { details: { sqlState: '55P03' } })
  }
  const next = wanted.live === undefined ? undefined : engineSchema(schema, wanted.live, placeOf(home, wanted.live))
  const found = await existing(session, next === undefined ? [schema] : [schema, next])
  const renames: string[] = []
  if (found.has(schema)) {
    const grants = next !== undefined && found.has(next) ? await followingGrants(session, { from: schema, to: next }) : []
    if (grants.length > 0) await session.rows(grants.join('; '))
    if (home.live === undefined) await dropEmpty(session, schema)
    else {
      await lockTables(session, schema, lockTimeoutMs)
      renames.push(renaming(schema, engineSchema(schema, home.live, 'old')))
    }
  }
  if (next !== undefined && found.has(next)) renames.push(renaming(next, schema))
  return renames
}

function placeOf({ places }: HomeRecord, engine: string): EnginePlace {
  const place = places.get(engine)
  if (place === undefined) throw new StoreUnavailableError(`Cannot make engine "${engine}" live: there is none of that name`)
  return place
}

async function existing(session: Connection, schemas: readonly string[]): Promise<ReadonlySet<string>> {
  const rows = await session.rows<{ name: string }>('SELECT nspname::text AS name FROM pg_namespace WHERE nspname = ANY ($1::text[])', [schemas])
  return new Set(rows.map(({ name }) => name))
}

/** Drops the empty schema that was made for a store: the first engine takes its place, and has its owner and grants by then. */
async function dropEmpty(session: Connection, schema: string): Promise<void> {
  try {
    await session.rows(`DROP SCHEMA ${quoteName(schema)} RESTRICT`)
  } catch (error) {
    if (sqlStateOf(error) !== NOT_EMPTY) throw error
    throw new StoreUnavailableError(`Cannot make a store in the schema "${schema}": it holds something else`, {
      cause: error,
      hint: 'Name a schema that does not exist, or is empty',
      details: { sqlState: NOT_EMPTY },
    })
  }
}

/** Waits for all readers of the tables, and holds the next ones back. They come upon the new engine when the transaction ends. */
async function lockTables(session: Connection, schema: string, lockTimeoutMs: number): Promise<void> {
  const rows = await session.rows<{ name: string }>(
    `SELECT relname::text AS name FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) ORDER BY oid`,
    [schema],
  )
  if (rows.length === 0) return
  await session.rows(`SET LOCAL statement_timeout = ${Math.ceil(LOCKS_TIMEOUT_FACTOR * lockTimeoutMs)}`)
  await session.rows(`LOCK TABLE ${rows.map(({ name }) => `${quoteName(schema)}.${quoteName(name)}`).join(', ')} IN ACCESS EXCLUSIVE MODE`)
  await session.rows('SET LOCAL statement_timeout = 0')
}

function renaming(from: string, to: string): string {
  return `ALTER SCHEMA ${quoteName(from)} RENAME TO ${quoteName(to)}`
}

/** How long the next attempt waits for a lock that an automatic VACUUM or ANALYZE has: what runs for a client is not cancelled. */
async function vacuumPatienceMs(session: Connection, { schema }: EngineSwap): Promise<number | undefined> {
  const [row] = await session.rows<{ timeout: number }>(
    `SELECT setting::int AS timeout FROM pg_settings WHERE name = 'deadlock_timeout' AND EXISTS (
       SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation LEFT JOIN pg_stat_activity a ON a.pid = l.pid
       WHERE l.locktype = 'relation' AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted AND a.backend_type IS DISTINCT FROM 'client backend'
         AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1)
         AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))`,
    [schema],
  )
  return row === undefined ? undefined : row.timeout + VACUUM_SLACK_MS
}

async function notDrained(session: Connection, cause: unknown, { schema, timeoutMs }: EngineSwap): Promise<StoreNotDrainedError> {
  const holders = await session
    .rows<{ pid: number; application: string }>(
      `SELECT DISTINCT a.pid, a.application_name AS application FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_stat_activity a ON a.pid = l.pid
       WHERE l.locktype = 'relation' AND l.granted AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1)
         AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND a.pid <> pg_backend_pid() LIMIT 20`,
      [schema],
    )
    .catch(() => [])
  const holder = holders.length === 0 ? '' : `, such as by process ${holders[0]?.pid} of the server`
  return new StoreNotDrainedError(`Cannot swap the engines of the store in schema "${schema}": it was in use for ${timeoutMs} ms${holder}`, {
    cause,
    hint: 'End the transactions that read or write it, a backup among them, then try again',
    details: { timeoutMs, holders },
  })
}
