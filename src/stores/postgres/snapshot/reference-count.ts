/**
 * Counts the references of a schema by a query of the embedder's, and compares the result with what the payload IDs query gave in the same
 * snapshot. The count shows a reference that was not read, or was read twice, such as through a damaged index. The digest shows one that
 * was read in place of another. The same server hashes on both sides, so the check does not depend on what the hash is, or on whether
 * another server hashes alike.
 */
import { InvalidArgumentError, StoreInconsistentError } from '../../../errors/errors.ts'
import type { Connection } from '../connection/connection.ts'
import { checkQuery } from './check-query.ts'

/** The SQL expression of a payload ID's hash, 64 bits. */
export function hashOf(column: string): string {
  return `hashtextextended(${column} COLLATE "C", 0)`
}

/** The SQL expression of the digest that a counting query gives of a column of payload IDs: the sum of their hashes. */
export function digestOf(column: string): string {
  return `coalesce(sum(${hashOf(column)}), 0)`
}

/** Counts what was read, and adds up the hashes that the server sent with it. */
export class ReferenceTally {
  count = 0
  #sum = 0n

  /** Adds so many references, and the sums of the upper (signed) and lower halves of their hashes. */
  add(count: number, { high, low }: { readonly high: number; readonly low: number }): void {
    this.count += count
    this.#sum += (BigInt(high) << 32n) + BigInt(low)
  }

  /** Modulo 2^64. */
  get digest(): bigint {
    return BigInt.asUintN(64, this.#sum)
  }
}

export interface CheckReferencesOptions {
  readonly schema: string
  /** Gives one row: `count`, and `digest` where it has one. */
  readonly query: string
  readonly tally: ReferenceTally
}

/** Counts by tables alone, because an index may be damaged. Nothing that the transaction reads afterwards needs an index. */
const NO_INDEXES = `SELECT set_config(name, CASE name WHEN 'enable_seqscan' THEN 'on' ELSE 'off' END, true)
  FROM unnest('{enable_seqscan,enable_indexscan,enable_indexonlyscan,enable_bitmapscan}'::text[]) AS given (name)`
const HINT =
  'Nothing was published or swapped in. Delete no payloads of it: an index may be damaged, which REINDEX mends, or rows were changed with triggers disabled; else restore an earlier backup'

/** Rejects with `store_inconsistent` when the query counts other references than were read. */
export async function checkReferences(session: Connection, { schema, query, tally }: CheckReferencesOptions): Promise<void> {
  await checkQuery(session, query, 'countPayloadIds')
  await session.rows(NO_INDEXES)
  // The query may end with a comment.
  const rows = await session.rows<{ count: string | null; digest: string | null }>(
    `SELECT given ->> 'count' AS count, given ->> 'digest' AS digest
     FROM (SELECT to_jsonb(counted) AS given FROM (\n${query.replace(/;\s*$/, '')}\n) AS counted) AS counts`,
  )
  const [row] = rows
  if (rows.length !== 1 || row?.count == null) {
    throw new InvalidArgumentError(`Cannot count the references to payloads in the schema "${schema}": the query "countPayloadIds" must give one row with a "count", and gave ${rows.length} rows`)
  }
  const [count, digest] = [BigInt(row.count), row.digest === null ? undefined : BigInt.asUintN(64, BigInt(row.digest))]
  if (count === BigInt(tally.count) && (digest === undefined || digest === tally.digest)) return
  const what = count === BigInt(tally.count) ? `the ${count} that were read are not those that were counted` : `${tally.count} were read, and ${count} counted by another way`
  throw new StoreInconsistentError(`Cannot trust the references to payloads in the schema "${schema}": ${what}`, {
    hint: HINT,
    details: { expected: { references: Number(count) }, actual: { references: tally.count } },
  })
}
