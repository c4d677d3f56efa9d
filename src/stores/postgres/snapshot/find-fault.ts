/** Asks of all rows of a schema at once whether they fit together. */
import { StoreInconsistentError } from '../../../errors/errors.ts'
import { TREE_HINT } from '../../../metadata/tree-rules.ts'
import type { Queryable } from '../connection/client.ts'

/** What the query finds that does not fit, in words. */
export async function findFault(session: Queryable, query: string): Promise<string | undefined> {
  const [row] = await session.rows<{ fault: string }>(query)
  return row?.fault
}

/** Rejects with `store_inconsistent` when the query finds something. */
export async function checkRowsFit(session: Queryable, query: string | undefined): Promise<void> {
  const problem = query === undefined ? undefined : await findFault(session, query)
  if (problem !== undefined) throw new StoreInconsistentError(`Tree check failed: ${problem}`, { hint: TREE_HINT, details: { problem } })
}
