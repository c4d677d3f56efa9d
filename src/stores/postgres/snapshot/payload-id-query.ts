/** Payload IDs by a query of the embedder's, sorted by the server. */
import { RecordInvalidError } from '../../../errors.ts'
import { type PayloadIdSetBuilder, checkPayloadId } from '../../../payload-ids.ts'
import type { Interrupt } from '../../common/interrupt.ts'
import type { Session } from './session.ts'

const READ_AHEAD_BYTES: number = 1024 * 1024

/** The command that sends what the query gives, in ascending order of bytes, without NULLs. */
export function payloadIdCommand(query: string): string {
  // The query may end with a comment.
  return `COPY (SELECT id FROM (\n${query.replace(/;\s*$/, '')}\n) AS given (id) WHERE id IS NOT NULL ORDER BY id::text COLLATE "C") TO STDOUT`
}

/** How many values that are no payload IDs are named. */
const MAX_NAMED = 20

export interface ReadPayloadIdsOptions {
  readonly query: string
  readonly builder: PayloadIdSetBuilder
  readonly interrupt: Interrupt
}

/** Adds all payload IDs that the query gives. Throws `record_invalid` when it gives others, naming the first of them and how many there are. */
export async function readPayloadIds(session: Session, { query, builder, interrupt }: ReadPayloadIdsOptions): Promise<void> {
  const copy = session.copyOut(payloadIdCommand(query), { format: 'text', limitBytes: READ_AHEAD_BYTES })
  const invalid: string[] = []
  let invalidCount = 0
  let rest = ''
  for (let piece = await interrupt.race(copy.next()); piece !== undefined; piece = await interrupt.race(copy.next())) {
    // An ID is ASCII; a byte of anything else is not mistaken for it, and the check finds it.
    const lines = (rest + piece.bytes.toString('latin1')).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      const id = line.includes('\\') ? unescape(line) : line
      if (isPayloadId(id)) builder.add(id)
      else if (++invalidCount <= MAX_NAMED) invalid.push(id)
    }
    interrupt.check()
  }
  await copy.finished
  if (invalidCount > 0) {
    throw new RecordInvalidError(`Cannot back up ${invalidCount} references to payloads, such as ${JSON.stringify(invalid[0]?.slice(0, 64))}: they are no payload IDs`, {
      details: { count: invalidCount, values: invalid.map((value) => value.slice(0, 255)) },
    })
  }
}

/** The only escape that a payload ID can have is that of the backslash; any other stands for what no ID has. */
function unescape(line: string): string {
  return line.replaceAll(/\\(.?)/g, (_, character: string) => (character === '\\' ? '\\' : '\0'))
}

function isPayloadId(text: string): boolean {
  try {
    checkPayloadId(text)
    return true
  } catch {
    return false
  }
}
