/** The advisory locks of the server by which processes on any machine keep out of each other's way. */
import { createHash } from 'node:crypto'
import { StoreNotDrainedError } from '../../../errors/errors.ts'
import type { PostgresPool, Queryable } from './client.ts'
import { Connection } from './connection.ts'
import { requireOwnSession } from './pooler.ts'
import { type Settings, CONFIRMED_IN_TIME, LONG_WORK, settingsStatement } from './settings.ts'

/** Two signed 32-bit numbers, as `pg_advisory_lock(int, int)` takes them. */
export type AdvisoryLockKey = readonly [number, number]

export type LockPurpose =
  /**
   * Taken shared by every mutating transaction before anything else; a transaction that is refused it is given up. The exclusive lock
   * excludes writers, and refuses new ones as soon as it is waited for.
   */
  | 'writes'
  /** Taken exclusively, and waited for, while a schema is made or migrated. */
  | 'migrations'
  /** Taken exclusively, and waited for, by a move of a directory to another: two moves at once could make a ring. */
  | 'moves'
  /** Taken exclusively by the process that changes which engine of the store is live, or what engines there are. */
  | 'homes'
  /** Taken shared by work that needs the payloads of a store to stay, and exclusively by a sweep. */
  | 'payloads'
  /** Taken exclusively by the trial that uses a schema, for as long as it does. */
  | 'trials'

/** A lock goes by the schema's name, and so stays with the name when schemas are renamed. */
export function lockKey(purpose: LockPurpose, schema: string): AdvisoryLockKey {
  const digest = createHash('sha256').update(`holdfast ${purpose}\0${schema}`).digest()
  return [digest.readInt32BE(0), digest.readInt32BE(4)]
}

const SETTINGS: Settings = {
  ...LONG_WORK,
  ...CONFIRMED_IN_TIME,
  search_path: 'pg_catalog, pg_temp',
  lock_timeout: '0',
  // It idles while an engine is filled.
  idle_session_timeout: '0',
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: 'off',
  default_transaction_deferrable: 'off',
  client_encoding: 'UTF8',
  check_function_bodies: 'off',
}
const BE_DURABLE = `SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`
/** How much later than its limit the server may say that a lock was not given. */
const ANSWER_SLACK_MS = 10_000

/**
 * Opens a connection that keeps the locks it takes until `end`, or until it breaks; it is not given back, for its settings are its own.
 * `action` begins the message of its failures. `store_unavailable` through a pooler that keeps no session.
 */
export async function openLockConnection(
  pool: PostgresPool,
  { action, answerTimeoutMs }: { readonly action: string; readonly answerTimeoutMs: number },
): Promise<Connection> {
  const connection = await Connection.open(pool, { action, answerTimeoutMs })
  try {
    await requireOwnSession(connection, { pool, action })
    await connection.rows(`${settingsStatement(SETTINGS, { isLocal: false })}; ${BE_DURABLE}`)
    return connection
  } catch (error) {
    connection.destroy()
    throw error
  }
}

export interface LockOptions {
  /** @default false: exclusive */
  readonly isShared?: boolean | undefined
  /** How long it is kept. @default "session" */
  readonly until?: 'session' | 'transaction' | undefined
}

/** Takes a lock at once, unless others have it; gives whether it was taken. */
export async function tryLock(session: Queryable, [space, key]: AdvisoryLockKey, { isShared = false, until = 'session' }: LockOptions = {}): Promise<boolean> {
  const name = `pg_try_advisory${until === 'transaction' ? '_xact' : ''}_lock${isShared ? '_shared' : ''}`
  const [row] = await session.rows<{ isOurs: boolean }>(`SELECT ${name}($1, $2) AS "isOurs"`, [space, key])
  return row?.isOurs === true
}

/** Waits for an exclusive lock; gives whether it was taken in time. A connection that has it already gets it at once. */
export async function waitForLock(connection: Connection, [space, key]: AdvisoryLockKey, waitMs: number): Promise<boolean> {
  const wholeMs = Math.max(1, Math.ceil(waitMs))
  try {
    await connection.transaction(() => connection.rows('SELECT pg_advisory_lock($1, $2)', [space, key], { timeoutMs: wholeMs + ANSWER_SLACK_MS }), {
      lock_timeout: wholeMs,
    })
    return true
  } catch (error) {
    if (error instanceof StoreNotDrainedError) return false
    throw error
  }
}
