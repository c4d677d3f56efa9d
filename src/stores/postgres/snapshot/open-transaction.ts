/** A transaction of a backup or a restore, on a connection of its own. */
import type { SnapshotProgress } from '../../../contracts/backupable.ts'
import type { Interrupt } from '../../../util/interrupt.ts'
import { type PostgresPool, quoteName } from '../connection/client.ts'
import { Connection } from '../connection/connection.ts'
import type { FailureOptions } from '../connection/server-errors.ts'
import type { SchemaDefinition, SchemaScope } from './definition.ts'
import { type SessionIdentity, type Settings, LONG_WORK, assumeIdentity, settingsStatement } from '../connection/settings.ts'

/** The whole of every table or an error; one spelling for values in text form; nothing compiled for queries that run once. */
const SETTINGS: Settings = {
  ...LONG_WORK,
  // A slow sink makes the client stop reading.
  tcp_user_timeout: '0',
  row_security: 'off',
  jit: 'off',
  synchronize_seqscans: 'off',
  client_encoding: 'UTF8',
  DateStyle: 'ISO, YMD',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  extra_float_digits: '3',
  bytea_output: 'hex',
  array_nulls: 'on',
  xmloption: 'content',
  quote_all_identifiers: 'off',
}

/** Marks the state that `LET_GO` goes back to. */
export const HOLD_ON = 'SAVEPOINT holdfast'
/** Undoes settings and gives back locks since `HOLD_ON`, also after a failure; the transaction and its snapshot go on. */
export const LET_GO = 'ROLLBACK TO SAVEPOINT holdfast'

/** What the transactions of one backup or restore have in common. */
export interface TransactionScope {
  readonly schema: string
  /** How long to wait for a lock. */
  readonly lockTimeoutMs: number
  /** How long the server may be silent while it is not at work. */
  readonly answerTimeoutMs: number
  /** The role to be. @default that of the pool's sessions */
  readonly identity?: SessionIdentity | undefined
  /** Ends every wait. */
  readonly interrupt: Interrupt
}

/** What a backup and a restore have in common. */
export interface SnapshotScope extends SchemaScope, TransactionScope {
  readonly payloadIdsQuery: string
  readonly storeKind: string
  readonly schemaVersion: number
  /** What the tables must be; what breaks their constraints is then the snapshot's fault. @default anything */
  readonly definition?: SchemaDefinition | undefined
  /** A query that gives in words, as `fault`, what does not fit together in the rows, and otherwise no row. @default nothing is asked */
  readonly faultQuery?: string | undefined
  readonly spillDirectory: string | undefined
  readonly onProgress?: ((progress: SnapshotProgress) => void) | undefined
}

export interface TransactionOptions extends TransactionScope {
  /** The statements that begin it: BEGIN, then those that need the role. */
  readonly begin: readonly [string, ...string[]]
  /** Settings of this transaction, added to those of all. */
  readonly settings?: Settings | undefined
  readonly failures: FailureOptions
}

/** Begins a transaction whose search path is the schema alone. */
export async function openTransaction(pool: PostgresPool, options: TransactionOptions): Promise<Connection> {
  const opening = open(pool, options)
  try {
    return await options.interrupt.race(opening)
  } catch (error) {
    opening.then((connection) => connection.destroy()).catch(() => undefined)
    throw error
  }
}

async function open(
  pool: PostgresPool,
  { schema, begin, settings, identity, lockTimeoutMs, failures, answerTimeoutMs, interrupt }: TransactionOptions,
): Promise<Connection> {
  const connection = await Connection.open(pool, { ...failures, isSnapshot: true, answerTimeoutMs, interrupt })
  try {
    const [first, ...others] = begin
    const all = settingsStatement({ ...SETTINGS, ...settings, search_path: `${quoteName(schema)}, pg_temp` }, { isLocal: true })
    const statements = [first, ...(identity === undefined ? [] : [assumeIdentity(identity)]), ...others, all]
    await connection.begin(statements.join('; '), { waitMs: lockTimeoutMs })
    return connection
  } catch (error) {
    connection.destroy()
    throw error
  }
}
