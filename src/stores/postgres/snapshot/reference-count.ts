/**
 * Counts the references of a schema by a query of the embedder's, and compares them with those that were read. The count shows a reference that was not
 * read, or was read twice, such as through a damaged index. The digest shows one that was read in place of another.
 */
import { hash } from 'node:crypto'
import { StoreInconsistentError } from '../../../errors/errors.ts'
import { LINE_FEED } from '../../../payload-ids/index.ts'
import type { Interrupt } from '../../../util/interrupt.ts'
import type { Connection } from '../connection/connection.ts'

/** The SQL expression of the digest that a counting query gives of a column of payload IDs: the sum of the first 64 bits of each ID's SHA-256. */
export function digestOf(column: string): string {
  return `coalesce(sum(('x' || encode(substr(sha256(convert_to(${column}, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint), 0)`
}

const HEX_DIGITS = 16

/** Counts and digests what was read. */
export class ReferenceTally {
  count = 0
  #sum = 0n

  addText(payloadId: string): void {
    this.addLines(Buffer.from(`${payloadId}\n`, 'latin1'))
  }

  /** Adds payload IDs that are each ended by a line feed. */
  addLines(lines: Buffer): void {
    for (let from = 0, end = lines.indexOf(LINE_FEED); end !== -1; end = lines.indexOf(LINE_FEED, from)) {
      this.count++
      this.#sum += BigInt(`0x${hash('sha256', lines.subarray(from, end), 'hex').slice(0, HEX_DIGITS)}`)
      from = end + 1
    }
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
  readonly interrupt: Interrupt
}

/** Counts by tables alone, because an index may be damaged. Nothing that the transaction reads afterwards needs an index. */
const NO_INDEXES = `SELECT set_config(name, CASE name WHEN 'enable_seqscan' THEN 'on' ELSE 'off' END, true)
  FROM unnest('{enable_seqscan,enable_indexscan,enable_indexonlyscan,enable_bitmapscan}'::text[]) AS given (name)`
const HINT =
  'Nothing was published or swapped in. Delete no payloads of it: an index may be damaged, which REINDEX mends, or rows were changed with triggers disabled; else restore an earlier backup'

/** Rejects with `store_inconsistent` when the query counts other references than were read. */
export async function checkReferences(session: Connection, { schema, query, tally, interrupt }: CheckReferencesOptions): Promise<void> {
  await interrupt.race(session.rows(NO_INDEXES))
  // The query may end with a comment.
  const rows = await interrupt.race(
    session.rows<{ count: string | null; digest: string | null }>(
      `SELECT given ->> 'count' AS count, given ->> 'digest' AS digest
       FROM (SELECT to_jsonb(counted) AS given FROM (\n${query.replace(/;\s*$/, '')}\n) AS counted) AS counts`,
    ),
  )
  const [row] = rows
  if (rows.length !== 1 || row?.count == null) throw new TypeError(`The query that counts payload IDs must give one row with a "count"; it gave ${rows.length} rows`)
  const [count, digest] = [BigInt(row.count), row.digest === null ? undefined : BigInt.asUintN(64, BigInt(row.digest))]
  if (count === BigInt(tally.count) && (digest === undefined || digest === tally.digest)) return
  const what = count === BigInt(tally.count) ? `the ${count} that were read are not those that were counted` : `${tally.count} were read, and ${count} counted by another way`
  throw new StoreInconsistentError(`Cannot trust the references to payloads in the schema "${schema}": ${what}`, {
    hint: HINT,
    details: { expected: { references: Number(count) }, actual: { references: tally.count } },
  })
}
