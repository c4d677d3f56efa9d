/** Payload IDs by a query of the embedder's, sorted by the server. */
import { RecordInvalidError } from '../../../errors/errors.ts'
import type { PayloadIdSetBuilder } from '../../../payload-ids/payload-id-set.ts'
import { LINE_FEED, MAX_ID_LENGTH, isPayloadId, packedLines } from '../../../payload-ids/index.ts'
import type { Interrupt } from '../../../util/interrupt.ts'
import type { Piece } from '../connection/copy-out.ts'
import type { ReferenceTally } from './reference-count.ts'
import type { Connection } from '../connection/connection.ts'

const READ_AHEAD_BYTES: number = 1024 * 1024

/** How many payload IDs a server sends between two rests, and how long one is: about what the client needs to take them in, and more. */
const IDS_BETWEEN_RESTS = 250
const REST_SECONDS = 0.001

/** A server may keep its roles from resting. */
const MAY_REST = `SELECT has_function_privilege('pg_catalog.pg_sleep(double precision)', 'EXECUTE') AS answer`

/** The command that sends what the query gives, in ascending order of bytes, without NULLs; with rests, so that server and client are at work in turn. */
export function payloadIdCommand(query: string, { isGentle }: { readonly isGentle: boolean }): string {
  const order = 'ORDER BY id::text COLLATE "C"'
  // The query may end with a comment.
  const given = `FROM (\n${query.replace(/;\s*$/, '')}\n) AS given (id) WHERE id IS NOT NULL`
  if (!isGentle) return `COPY (SELECT id ${given} ${order}) TO STDOUT`
  const rest = `CASE WHEN n % ${IDS_BETWEEN_RESTS} = 0 THEN pg_catalog.pg_sleep(${REST_SECONDS}) IS NOT NULL ELSE true END`
  return `COPY (SELECT id FROM (SELECT id, row_number() OVER (${order}) AS n ${given}) AS sorted WHERE ${rest}) TO STDOUT`
}

const BACKSLASH = 0x5c
/** How much is kept of a line whose end has not come: a byte more than a payload ID of backslashes alone has, each sent as two. */
const MAX_REST_BYTES: number = 2 * MAX_ID_LENGTH + 1
/** How many values that are not payload IDs are named. */
const MAX_NAMED = 20

export interface ReadPayloadIdsOptions {
  readonly query: string
  /** Whether the server is to rest now and then, if it lets the role ask for it. @default false */
  readonly isGentle?: boolean | undefined
  readonly builder: PayloadIdSetBuilder
  /** Takes all that is read, also what comes again. @default none */
  readonly tally?: ReferenceTally | undefined
  readonly interrupt: Interrupt
}

/** Adds all payload IDs that the query gives. Throws `record_invalid` when it gives others, naming the first of them and how many there are. */
export async function readPayloadIds(session: Connection, { query, isGentle = false, builder, tally, interrupt }: ReadPayloadIdsOptions): Promise<void> {
  const rests = isGentle ? await interrupt.race(session.rows<{ answer: boolean }>(MAY_REST)) : []
  const copy = session.copyOut(payloadIdCommand(query, { isGentle: rests[0]?.answer === true }), { format: 'text', limitBytes: READ_AHEAD_BYTES })
  const lines = new LineReader(builder, tally)
  for (let piece = await interrupt.race(copy.next()); piece !== undefined; piece = await interrupt.race(copy.next())) lines.take(piece)
  await copy.finished
  lines.checkAll()
}

/** Lines as they come, in their order; as bytes where all of them are plain, which is nearly always. */
class LineReader {
  readonly #builder: PayloadIdSetBuilder
  readonly #tally: ReferenceTally | undefined
  readonly #invalid: string[] = []
  #invalidCount = 0
  /** The beginning of a line; of one that is too long, enough to see that. */
  #rest: Buffer = Buffer.alloc(0)

  constructor(builder: PayloadIdSetBuilder, tally: ReferenceTally | undefined) {
    this.#builder = builder
    this.#tally = tally
  }

  take({ bytes, ends }: Piece): void {
    const [first] = ends
    const isContinued = this.#rest.byteLength > 0 && first !== undefined
    if (isContinued) {
      this.#add(Buffer.concat([this.#rest, bytes.subarray(0, first)]))
      this.#rest = Buffer.alloc(0)
    }
    const from = isContinued ? first : 0
    const to = ends.at(-1) ?? 0
    this.#add(bytes.subarray(from, to))
    if (to < bytes.byteLength) this.#rest = Buffer.concat([this.#rest, bytes.subarray(to, to + MAX_REST_BYTES - this.#rest.byteLength)])
  }

  /** Throws when any line was not a payload ID. */
  checkAll(): void {
    if (this.#invalidCount === 0) return
    throw new RecordInvalidError(`Cannot use ${this.#invalidCount} references to payloads, such as ${JSON.stringify(this.#invalid[0]?.slice(0, 64))}: they are not payload IDs`, {
      details: { count: this.#invalidCount, values: this.#invalid.map((value) => value.slice(0, MAX_ID_LENGTH)) },
    })
  }

  #add(lines: Buffer): void {
    if (lines.byteLength === 0) return
    const packed = packedLines(lines)
    if (packed === undefined && !arePlain(lines)) return this.#addEach(lines)
    if (packed === undefined) this.#builder.addLines(lines)
    else this.#builder.addList(packed)
    this.#tally?.addLines(lines)
  }

  /** A byte that is not ASCII is not mistaken for a character that is: the check finds it. */
  #addEach(lines: Buffer): void {
    for (const line of lines.toString('latin1', 0, lines.byteLength - 1).split('\n')) {
      const id = line.includes('\\') ? unescape(line) : line
      if (isPayloadId(id)) {
        this.#builder.add(id)
        this.#tally?.addText(id)
      } else if (++this.#invalidCount <= MAX_NAMED) this.#invalid.push(id)
    }
  }
}

/** Whether all lines are payload IDs that stand for themselves. */
function arePlain(lines: Buffer): boolean {
  let length = 0
  for (const byte of lines) {
    if (byte === LINE_FEED) {
      if (length === 0 || length > MAX_ID_LENGTH) return false
      length = 0
    } else if (byte < 0x21 || byte > 0x7e || byte === BACKSLASH) {
      return false
    } else {
      length++
    }
  }
  return true
}

/** The only escape that a payload ID can have is that of the backslash; any other stands for what no ID has. */
function unescape(line: string): string {
  return line.replaceAll(/\\(.?)/g, (_, character: string) => (character === '\\' ? '\\' : '\0'))
}
