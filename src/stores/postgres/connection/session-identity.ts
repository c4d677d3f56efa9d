/** Who a session of the server is: a pool may have it change from the role that logged in to another. */
import { InternalError } from '../../../errors/errors.ts'

export interface SessionIdentity {
  /** Who logged in, or who that became. */
  readonly user: string
  /** Whose privileges count, or "none" where those are the user's. */
  readonly role: string
}

/** Who the sessions are that run these statements. */
export async function identityOf(query: (text: string) => Promise<readonly object[]>): Promise<SessionIdentity> {
  const [identity] = (await query(`SELECT session_user::text AS user, current_setting('role') AS role`)) as readonly SessionIdentity[]
  if (identity === undefined) throw new InternalError('The server gave no row for a query of one')
  return { user: identity.user, role: identity.role }
}

/** Makes a session be the same, until it ends; the values go with it. */
export const ASSUME_IDENTITY = `SELECT set_config('session_authorization', $1, false), set_config('role', $2, false)`
