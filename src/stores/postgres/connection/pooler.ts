/** Tells a pooler that gives each transaction another session of the server, such as pgbouncer in its mode "transaction". */
import { StoreUnavailableError } from '../../../errors/errors.ts'
import type { PostgresPool } from './client.ts'
import { Connection } from './connection.ts'
import { POOLER_HINT, givesNoTransactions } from './server-errors.ts'

/** How long it may take to ask over a second connection; a pool or a pooler that has none to give keeps its sessions apart. */
const PROBE_TIMEOUT_MS = 3000

/**
 * Rejects with `store_unavailable` when what the connection's session keeps, locks and settings, would be lost to it and left to others.
 * Changes nothing in the session. A connection to the server itself costs one statement. `action` begins the message.
 */
export async function requireOwnSession(connection: Connection, { pool, action }: { readonly pool: PostgresPool; readonly action: string }): Promise<void> {
  const backend = await connection.processId()
  if (connection.claimedProcessId === undefined || connection.claimedProcessId === backend) return
  const other = await Connection.open(pool, { action, answerTimeoutMs: PROBE_TIMEOUT_MS }).catch(() => undefined)
  if (other === undefined) return
  try {
    if (!(await areShared(connection, other, backend))) return
  } catch (error) {
    if (givesNoTransactions(error)) throw error
    return
  } finally {
    other.destroy()
  }
  throw new StoreUnavailableError(`${action}: a pooler gives each of its transactions another session of the server`, { hint: POOLER_HINT })
}

/** Whether a second client is given a session of the first, or either is given more than one. */
async function areShared(ours: Connection, other: Connection, backend: number): Promise<boolean> {
  await other.rows('BEGIN')
  const theirs = await other.processId()
  if (theirs === backend || (await ours.processId()) !== backend) return true
  await other.rows('ROLLBACK')
  return (await other.processId()) !== theirs
}
