/** What the server and the connection fail with, as Holdfast's errors. */
import type { DatabaseError } from 'pg'
import { messageOf } from '../../../errors/error-message.ts'
import {
  type HoldfastErrorOptions, BackupUnsupportedError, DestinationNoSpaceError, InternalError, RecordInvalidError, RestoreCorruptError, SchemaVersionMismatchError,
  StoreNotDrainedError, StoreUnavailableError, isHoldfastError,
} from '../../../errors/errors.ts'

/** Every one that a server gives has a digit; `EPIPE`, which is as long, is the system's. */
const SQL_STATE = /^(?=.*\d)[0-9A-Z]{5}$/
/** SQLSTATE classes: https://www.postgresql.org/docs/current/errcodes-appendix.html */
const INSUFFICIENT_RESOURCES = '53'
const DISK_FULL = '53100'
const TOO_MANY_CONNECTIONS = '53300'
/** What `pg` says when the server wants a password and none was given. */
const NO_PASSWORD = /client password must be a (?:non-empty )?string/
const LOCK_NOT_AVAILABLE = '55P03'
const INSUFFICIENT_PRIVILEGE = '42501'
const QUERY_CANCELED = '57014'
const SERIALIZATION_OR_DEADLOCK = '40'
/** The server is a standby, as after a failover: a change is refused, or a transaction that is to make some. */
const NOT_SUPPORTED = '0A000'
const READ_ONLY_SERVER: readonly string[] = ['25006', NOT_SUPPORTED]
/** A transaction that idled, or went on, for too long: the server has ended its session. */
const SESSION_TIMEOUTS: readonly string[] = ['25P03', '25P04']
/** Data exception, integrity constraint violation, and data that the server itself finds corrupted. */
const BAD_DATA: readonly string[] = ['22', '23', 'XX001', 'XX002']
/** A value in binary form that is cut short: "insufficient data left in message". Poolers give this state to other errors. */
const PROTOCOL_VIOLATION = '08P01'
const CUT_VALUE = /in message$/
const CONSTRAINT_VIOLATION = '23'
/** A character that the encoding of the database does not have. */
const UNTRANSLATABLE = '22P05'
/** Text that is not UTF-8, or cannot be converted to it. A database of the encoding SQL_ASCII keeps any bytes as text. */
const NOT_UTF8: readonly string[] = ['22021', UNTRANSLATABLE]
/** What may quote rows in its DETAIL: bad data, and what a function of the schema raises. */
const QUOTES_ROWS: readonly string[] = [...BAD_DATA, 'P0']
/** The function of the server by which a standby refuses a transaction for changes: the code is that of anything a server cannot do. */
const SETTING_CHECK = 'call_bool_check_hook'

export interface FailureOptions {
  /** Begins the message, such as `Cannot back up the schema "meta"`. */
  readonly action: string
  /**
   * What it means when data does not fit its type or its table: a record of the store is damaged, the snapshot is, or, where only a
   * constraint is broken, the target is not what was backed up; or the statement is wrong. @default "invalid"
   */
  readonly badData?: 'invalid' | 'corrupt' | 'corrupt-or-target' | 'internal' | undefined
  /** Whether what the server cannot do is what a snapshot would need of it. @default false */
  readonly isSnapshot?: boolean | undefined
}

/** Errors of Holdfast pass through. */
export function postgresError(error: unknown, { action, badData = 'invalid', isSnapshot = false }: FailureOptions): Error {
  if (isHoldfastError(error)) return error
  if (!(error instanceof Error)) return new InternalError(`${action}: ${String(error)}`, { cause: error })
  const code = codeOf(error)
  const { hint: advice, detail, table, column, constraint } = reportOf(error)
  // The DETAIL of bad data quotes the row, which may be secret: it stays with the cause, and the names are told.
  const more = detail === undefined || QUOTES_ROWS.some((start) => code.startsWith(start)) ? '' : ` (${detail.replaceAll('\n', '; ')})`
  const message = `${action}: ${messageOf(error)}${more}`
  const hintOf = (own?: string): string | undefined => joined(advice, own)
  const options: HoldfastErrorOptions = { cause: error, hint: hintOf(), details: SQL_STATE.test(code) ? { sqlState: code, table, column, constraint } : {} }
  if (code === DISK_FULL) return new DestinationNoSpaceError(message, options)
  if (code === LOCK_NOT_AVAILABLE) return new StoreNotDrainedError(message, options)
  if (code === INSUFFICIENT_PRIVILEGE) return new StoreUnavailableError(message, { ...options, hint: hintOf(PRIVILEGE_HINT) })
  if (isSnapshot && code === NOT_SUPPORTED && !takesNoChanges(error)) return new BackupUnsupportedError(message, options)
  if (badData === 'corrupt-or-target' && code.startsWith(CONSTRAINT_VIOLATION)) {
    return new SchemaVersionMismatchError(message, { ...options, hint: CONSTRAINT_HINT })
  }
  if (badData === 'corrupt-or-target' && code === UNTRANSLATABLE) return new SchemaVersionMismatchError(message, { ...options, hint: ENCODING_HINT })
  if (badData === 'invalid' && isSnapshot && NOT_UTF8.includes(code)) return new RecordInvalidError(message, { ...options, hint: hintOf(TEXT_HINT) })
  if (badData === 'internal' && (code.startsWith('22') || code.startsWith(CONSTRAINT_VIOLATION))) return new InternalError(message, options)
  if (BAD_DATA.some((start) => code.startsWith(start)) || (code === PROTOCOL_VIOLATION && CUT_VALUE.test(error.message))) {
    return badData === 'invalid' ? new RecordInvalidError(message, options) : new RestoreCorruptError(message, options)
  }
  const retryable = !givesNoTransactions(error) && isTransient(code, error)
  return new StoreUnavailableError(message, { ...options, hint: hintOf(hintFor(error)), retryable })
}

function hintFor(error: Error): string {
  if (givesNoTransactions(error)) return POOLER_HINT
  if (codeOf(error) === TOO_MANY_CONNECTIONS) return CONNECTIONS_HINT
  if (NO_PASSWORD.test(error.message)) return PASSWORD_HINT
  return takesNoChanges(error) ? STANDBY_HINT : HINT
}

/** Whether a pooler refused a transaction, because it gives each statement another session: pgbouncer in its mode "statement". */
export function givesNoTransactions(error: unknown): boolean {
  return error instanceof Error && error.message.endsWith('not allowed in statement pooling mode')
}

/** Whether the server is a standby, or keeps the transaction from changes for another reason. */
function takesNoChanges(error: Error): boolean {
  return codeOf(error) === '25006' || (codeOf(error) === NOT_SUPPORTED && reportOf(error).routine === SETTING_CHECK)
}

/** The code that a server gave to an error, or to the cause of one of Holdfast's; `undefined` where no server did. */
export function sqlStateOf(error: unknown): string | undefined {
  if (isHoldfastError(error)) return typeof error.details['sqlState'] === 'string' ? error.details['sqlState'] : undefined
  const code = error instanceof Error ? codeOf(error) : ''
  return SQL_STATE.test(code) ? code : undefined
}

/** Whether a connection is of no more use: it broke or fell silent, the server ended its session, or another server has taken over. */
export function isConnectionOver(error: unknown): boolean {
  const state = sqlStateOf(error)
  if (state === undefined) return true
  return state.startsWith('08') || state.startsWith('57P') || SESSION_TIMEOUTS.includes(state) || READ_ONLY_SERVER.includes(state)
}

/** The error of a COMMIT whose connection broke: it is not known how the transaction ended. */
export function unknownOutcome(error: Error, hint: string): Error {
  if (!isHoldfastError(error)) return error
  return new StoreUnavailableError(error.message, { cause: error.cause, retryable: error.retryable, hint, details: { ...error.details, outcome: 'unknown' } })
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : ''
}

/** What the server says beside its message. */
function reportOf(error: Error): Partial<DatabaseError> {
  return SQL_STATE.test(codeOf(error)) ? (error as Partial<DatabaseError>) : {}
}

/** The server's advice, then ours, as one sentence. */
function joined(advice: string | undefined, own: string | undefined): string | undefined {
  if (advice === undefined || own === undefined) return advice ?? own
  return `${advice.replace(/\.$/, '')}; ${own.charAt(0).toLowerCase()}${own.slice(1)}`
}

const PRIVILEGE_HINT = 'Connect as the owner of the tables, or give the role the privilege named in the message'
export const POOLER_HINT = 'Connect to the server itself, or have the pooler keep a session for each client (pgbouncer: pool_mode = session)'
const CONNECTIONS_HINT = 'End other sessions, or allow the role, the database or the server more of them (CONNECTION LIMIT, max_connections): four are enough'
const PASSWORD_HINT = 'Put the password in PGPASSWORD or ~/.pgpass; a variable that is set and empty gives none'
const STANDBY_HINT = 'Connect to the primary: this server is a standby, or takes no changes'
const CONSTRAINT_HINT =
  'If the source did not have the constraint, drop it in the target; otherwise restore another backup. ' +
  'For a foreign key into another schema, add the rows that it needs there'
const TEXT_HINT =
  'Repair or remove the text that cannot be converted to UTF-8, then back up again; "pg_dump --encoding=UTF8 --data-only" says in which table it is'
const ENCODING_HINT = 'Restore into a database of the encoding UTF8'
const HINT = 'Check the server and its log; nothing was left half done, so it can be tried again'

/** A connection that broke, a server that restarts or takes no changes, a statement that took too long, a shortage that may pass. */
function isTransient(code: string, error: Error): boolean {
  if (SQL_STATE.test(code)) {
    if ([QUERY_CANCELED, ...READ_ONLY_SERVER, ...SESSION_TIMEOUTS].includes(code)) return true
    return ['08', '57', SERIALIZATION_OR_DEADLOCK, INSUFFICIENT_RESOURCES].includes(code.slice(0, 2))
  }
  return code.startsWith('E') || /connect/i.test(error.message)
}
