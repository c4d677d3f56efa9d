/** Asks the server whether it can run a query of the embedder's, before it does. */
import { InvalidArgumentError, isHoldfastError } from '../../../errors/errors.ts'
import type { Connection } from '../connection/connection.ts'
import { sqlStateOf } from '../connection/server-errors.ts'

/** SQLSTATE: syntax errors, and names and types that do not exist or do not fit. */
const MISTAKES = '42'
const INSUFFICIENT_PRIVILEGE = '42501'

/** Rejects with `invalid_argument` for a query that is not SQL or names what is not there, and for more than one column of payload IDs. */
export async function checkQuery(session: Connection, query: string, option: 'payloadIds' | 'countPayloadIds'): Promise<void> {
  // The query may end with a comment. Only queries with the same number of columns can be united.
  const given = `(\n${query.replace(/;\s*$/, '')}\n)`
  const united = option === 'payloadIds' ? `${given} UNION ALL SELECT NULL WHERE false` : given
  try {
    await session.rows(`SELECT FROM (${united}) AS given LIMIT 0`)
  } catch (error) {
    const state = sqlStateOf(error)
    if (!isHoldfastError(error) || state?.startsWith(MISTAKES) !== true || state === INSUFFICIENT_PRIVILEGE) throw error
    throw new InvalidArgumentError(`${error.message}, in the query that is given as "${option}"`, {
      cause: error,
      hint: option === 'payloadIds' ? 'Mend the query: it must give one column, the payload IDs' : 'Mend the query: it must give one row with a "count"',
      details: error.details,
    })
  }
}
