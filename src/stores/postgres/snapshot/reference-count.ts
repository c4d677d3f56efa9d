/** Counts the references of a schema by a query of the embedder's, and holds them against those that were read. */
import { StoreInconsistentError } from '../../../errors/errors.ts'
import { LINE_FEED } from '../../../payload-ids/id-list.ts'
import type { Interrupt } from '../../../util/interrupt.ts'
import type { Session } from '../connection/session.ts'
import { hashText } from './text-hash.ts'

/** What was read: how many references, and the sum of their hashes modulo 2^64. */
export class ReferenceTally {
  count = 0
  #low = 0
  #high = 0

  addText(payloadId: string): void {
    this.addLines(Buffer.from(`${payloadId}\n`, 'latin1'))
  }

  /** Adds payload IDs that are each ended by a line feed. */
  addLines(lines: Buffer): void {
    const view = new DataView(lines.buffer, lines.byteOffset, lines.byteLength)
    for (let from = 0, end = lines.indexOf(LINE_FEED); end !== -1; end = lines.indexOf(LINE_FEED, from)) {
      this.#add(view, from, end)
      from = end + 1
    }
  }

  get digest(): bigint {
    return (BigInt(this.#high) << 32n) | BigInt(this.#low)
  }

  #add(bytes: DataView, from: number, end: number): void {
    this.count++
    const hash = hashText(bytes, from, end)
    const low = this.#low + (hash.low >>> 0)
    this.#low = low >>> 0
    this.#high = (this.#high + hash.high + (low > 0xffff_ffff ? 1 : 0)) >>> 0
  }
}

export interface CheckReferencesOptions {
  readonly schema: string
  /** Gives one row: `count`, and `digest` where it has one. */
  readonly query: string
  readonly tally: ReferenceTally
  readonly interrupt: Interrupt
}

/** What may be damaged is not counted by; what else the transaction reads needs no index either. */
const NO_INDEXES = `SELECT set_config(name, CASE name WHEN 'enable_seqscan' THEN 'on' ELSE 'off' END, true)
  FROM unnest('{enable_seqscan,enable_indexscan,enable_indexonlyscan,enable_bitmapscan}'::text[]) AS given (name)`
const PROBE = 'payload'
const HINT =
  'Nothing was published or swapped in. Delete no payloads of it: an index may be damaged, which REINDEX mends, or rows were changed with triggers disabled; else restore an earlier backup'

/** Rejects with `store_inconsistent` when the query counts other references than were read. */
export async function checkReferences(session: Session, { schema, query, tally, interrupt }: CheckReferencesOptions): Promise<void> {
  await interrupt.race(session.run(NO_INDEXES))
  // The query may end with a comment.
  const rows = await interrupt.race(
    session.rows<{ count: string | null; digest: string | null; probe: string }>(
      `SELECT given ->> 'count' AS count, given ->> 'digest' AS digest, hashtextextended('${PROBE}' COLLATE "C", 0)::text AS probe
       FROM (SELECT to_jsonb(counted) AS given FROM (\n${query.replace(/;\s*$/, '')}\n) AS counted) AS counts`,
    ),
  )
  const [row] = rows
  if (rows.length !== 1 || row?.count == null) throw new TypeError(`The query that counts payload IDs must give one row with a "count"; it gave ${rows.length} rows`)
  const [count, digest] = [BigInt(row.count), row.digest === null || !hashesAlike(row.probe) ? undefined : BigInt.asUintN(64, BigInt(row.digest))]
  if (count === BigInt(tally.count) && (digest === undefined || digest === tally.digest)) return
  const what = count === BigInt(tally.count) ? `the ${count} that were read are not those that were counted` : `${tally.count} were read, and ${count} counted by another way`
  throw new StoreInconsistentError(`Cannot trust the references to payloads in the schema "${schema}": ${what}`, {
    hint: HINT,
    details: { expected: { references: Number(count) }, actual: { references: tally.count } },
  })
}

/** A server on a machine of the other byte order does not; then there is the count alone. */
function hashesAlike(probe: string): boolean {
  const tally = new ReferenceTally()
  tally.addText(PROBE)
  return BigInt.asUintN(64, BigInt(probe)) === tally.digest
}
