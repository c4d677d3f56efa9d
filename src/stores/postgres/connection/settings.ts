/** Settings and role of a session, made certain whatever the role, the database or the pool has. */
import { InternalError } from '../../../errors/errors.ts'
import { type Queryable, quoteText } from './client.ts'

export type Settings = Readonly<Record<string, string>>

/**
 * For work that may take long: no limits of time, because a slow reader is not a fault. The server notices a client that is gone without a
 * word, and ends its transaction: until then the transaction keeps its locks, and the rows that VACUUM would remove.
 */
export const LONG_WORK: Settings = {
  statement_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  transaction_timeout: '0',
  client_connection_check_interval: '1000',
  tcp_keepalives_idle: '30',
  tcp_keepalives_interval: '10',
  tcp_keepalives_count: '3',
}

/** The client confirms in time what the server sent. Not for a client that stops reading now and then. */
export const CONFIRMED_IN_TIME: Settings = { tcp_user_timeout: '60000' }

/** The statement that sets these. It passes over settings that this server, or its system, does not have. */
export function settingsStatement(settings: Settings, { isLocal }: { readonly isLocal: boolean }): string {
  const values = Object.entries(settings).map(([name, value]) => `(${quoteText(name)}, ${quoteText(value)})`)
  return `SELECT set_config(name, value, ${isLocal}) FROM (VALUES ${values.join(', ')}) AS wanted (name, value) JOIN pg_catalog.pg_settings USING (name)
    WHERE name <> 'client_connection_check_interval' OR version() !~ 'Visual C|mingw'`
}

/** The role of a session: a pool may have it change from the role that logged in to another. */
export interface SessionIdentity {
  /** The role that logged in, or the one it became. */
  readonly user: string
  /** The role whose privileges count, or "none" where those are the user's. */
  readonly role: string
}

/** Finds the role of the sessions that run these statements. */
export async function identityOf(session: Queryable): Promise<SessionIdentity> {
  const [identity] = await session.rows<SessionIdentity>(`SELECT session_user::text AS user, current_setting('role') AS role`)
  if (identity === undefined) throw new InternalError('The server gave no row for a query of one')
  return { user: identity.user, role: identity.role }
}

/** Gives a transaction that role, and no other that a pooler runs in the same session. No query: a snapshot may still be set after it. */
export function assumeIdentity({ user, role }: SessionIdentity): string {
  return `SET LOCAL SESSION AUTHORIZATION ${quoteText(user)}; SET LOCAL ROLE ${quoteText(role)}`
}
