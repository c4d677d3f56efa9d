/** Payload IDs by a query of the embedder's, sorted by the server. */
import { InvalidArgumentError } from '../../../errors/errors.ts'
import type { PayloadIdSetBuilder } from '../../../payload-ids/payload-id-set.ts'
import { LINE_FEED, MAX_ID_LENGTH, packedLines } from '../../../payload-ids/index.ts'
import type { Piece } from '../connection/copy-out.ts'
import { type ReferenceTally, hashOf } from './reference-count.ts'
import type { Connection } from '../connection/connection.ts'
import { checkQuery } from './check-query.ts'

const READ_AHEAD_BYTES: number = 1024 * 1024

/** How many payload IDs a server sends between two rests, and how long one is: about what the client needs to take them in, and more. */
const IDS_BETWEEN_RESTS = 250
const REST_SECONDS = 0.001

/** A server may keep its roles from resting. */
const MAY_REST = `SELECT has_function_privilege('pg_catalog.pg_sleep(double precision)', 'EXECUTE') AS answer`

/**
 * The command that sends what the query gives in ascending order of bytes, without NULLs, each ID with its hash where that is wanted. At
 * gentle pace the server rests now and then, so that server and client are at work in turn.
 */
export function payloadIdCommand(query: string, { isGentle, isHashed }: { readonly isGentle: boolean; readonly isHashed: boolean }): string {
  const id = 'id::text COLLATE "C"'
  const order = `ORDER BY ${id}`
  const columns = isHashed ? `id::text, ${hashOf('id::text')}` : 'id::text'
  // The query may end with a comment.
  const given = `FROM (\n${query.replace(/;\s*$/, '')}\n) AS given (id) WHERE id IS NOT NULL`
  if (!isGentle) return `COPY (SELECT ${columns} ${given} ${order}) TO STDOUT (FORMAT binary)`
  const rest = `CASE WHEN n % ${IDS_BETWEEN_RESTS} = 0 THEN pg_catalog.pg_sleep(${REST_SECONDS}) IS NOT NULL ELSE true END`
  return `COPY (SELECT ${columns} FROM (SELECT id, row_number() OVER (${order}) AS n ${given}) AS sorted WHERE ${rest}) TO STDOUT (FORMAT binary)`
}

/** row = columns 2 | length 4 | payload ID | length 4 | hash 8; the last two only where they are wanted */
const LENGTH_AT = 2
const ID_AT = 6
const HASH_BYTES = 8
/** What is kept of a row whose end has not come: its length tells that a longer one is not a payload ID. */
const MAX_ROW_BYTES: number = ID_AT + MAX_ID_LENGTH + 4 + HASH_BYTES
/** How many values that are not payload IDs are named. */
const MAX_NAMED = 20

export interface ReadPayloadIdsOptions {
  readonly query: string
  /** Whether the server is to rest now and then, if it lets the role ask for it. @default false */
  readonly isGentle?: boolean | undefined
  readonly builder: PayloadIdSetBuilder
  /** Takes the hashes of all that is read, also of what comes again. @default none, and the server hashes nothing */
  readonly tally?: ReferenceTally | undefined
}

/**
 * Adds all payload IDs that the query gives. Throws `invalid_argument` for a query that cannot be run, and when it gives what are not
 * payload IDs, naming the first of them and how many there are.
 */
export async function readPayloadIds(session: Connection, { query, isGentle = false, builder, tally }: ReadPayloadIdsOptions): Promise<void> {
  await checkQuery(session, query, 'payloadIds')
  const rests = isGentle ? await session.rows<{ answer: boolean }>(MAY_REST) : []
  const command = payloadIdCommand(query, { isGentle: rests[0]?.answer === true, isHashed: tally !== undefined })
  const copy = session.copyOut(command, { format: 'binary', limitBytes: READ_AHEAD_BYTES })
  const rows = new RowReader(builder, tally)
  for (let piece = await copy.next(); piece !== undefined; piece = await copy.next()) rows.take(piece)
  await copy.finished
  rows.checkAll()
}

/** Takes rows in the order in which they come, however the pieces cut them. */
class RowReader {
  readonly #builder: PayloadIdSetBuilder
  readonly #tally: ReferenceTally | undefined
  readonly #invalid: string[] = []
  #invalidCount = 0
  /** The beginning of a row. */
  #rest: Buffer = Buffer.alloc(0)

  constructor(builder: PayloadIdSetBuilder, tally: ReferenceTally | undefined) {
    this.#builder = builder
    this.#tally = tally
  }

  take({ bytes, ends }: Piece): void {
    const [first, last] = [ends[0], ends.at(-1) ?? 0]
    if (this.#rest.byteLength > 0 && first !== undefined) {
      const row = Buffer.concat([this.#rest, bytes.subarray(0, first)])
      this.#rest = Buffer.alloc(0)
      this.#add(row, [row.byteLength], 0)
      this.#add(bytes, ends.subarray(1), first)
    } else {
      this.#add(bytes, ends, 0)
    }
    if (last < bytes.byteLength) this.#rest = Buffer.concat([this.#rest, bytes.subarray(last, last + MAX_ROW_BYTES - this.#rest.byteLength)])
  }

  /** Throws when any row was not a payload ID. */
  checkAll(): void {
    if (this.#invalidCount === 0) return
    const first = JSON.stringify(this.#invalid[0]?.slice(0, 64))
    throw new InvalidArgumentError(`Cannot use ${this.#invalidCount} references to payloads, such as ${first}: a payload ID has 1 to 255 printable ASCII characters, without spaces`, {
      hint: 'Mend the query that is given as "payloadIds"; encode other names of payloads in the same way wherever they are used',
      details: { count: this.#invalidCount, values: this.#invalid },
    })
  }

  /** Adds the rows that begin at `from` and end at `ends`. Their bytes become lines in the same memory, each shorter than its row. */
  #add(bytes: Buffer, ends: ArrayLike<number>, from: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    // Of some thousand rows at most: these sums are exact.
    let [high, low, used, start] = [0, 0, 0, from]
    for (let row = 0; row < ends.length; row++) {
      const end = ends[row]!
      const length = view.getInt32(start + LENGTH_AT)
      const copied = copyPayloadId(bytes, { from: start + ID_AT, length, to: used })
      if (length > 0 && copied === length) {
        used += length
        bytes[used++] = LINE_FEED
      } else if (++this.#invalidCount <= MAX_NAMED) {
        // What was copied may lie over its own beginning.
        const rest = bytes.subarray(start + ID_AT + copied, Math.min(start + ID_AT + length, start + ID_AT + MAX_ID_LENGTH, end))
        this.#invalid.push(Buffer.concat([bytes.subarray(used, used + copied), rest]).toString())
      }
      if (this.#tally !== undefined) {
        high += view.getInt32(end - HASH_BYTES)
        low += view.getUint32(end - HASH_BYTES + 4)
      }
      start = end
    }
    this.#tally?.add(ends.length, { high, low })
    const lines = bytes.subarray(0, used)
    const packed = packedLines(lines)
    if (packed === undefined) this.#builder.addLines(lines)
    else this.#builder.addList(packed)
  }
}

/** Copies a payload ID toward the front, as far as it is one; returns how many bytes that are. */
function copyPayloadId(bytes: Buffer, { from, length, to }: { readonly from: number; readonly length: number; readonly to: number }): number {
  if (length > MAX_ID_LENGTH) return 0
  for (let at = 0; at < length; at++) {
    const byte = bytes[from + at]!
    if (byte < 0x21 || byte > 0x7e) return at
    bytes[to + at] = byte
  }
  return length
}
