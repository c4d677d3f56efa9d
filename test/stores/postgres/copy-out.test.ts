import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { BINARY_HEADER, BINARY_TRAILER, CopyOut, type CopyFormat, type Piece } from '../../../src/stores/postgres/connection/copy-out.ts'
import { randomFrom, runs, seed } from '../../support/seed.ts'

test(`CopyOut gives rows and leaves all other messages to pg, however the bytes are cut (seed ${seed})`, async () => {
  const random = randomFrom(seed)
  for (let round = 0; round < runs(300); round++) {
    const format: CopyFormat = round % 2 === 0 ? 'binary' : 'text'
    const isLarge = random() < 0.1
    const rows = Array.from({ length: Math.floor(random() * (isLarge ? 300 : 20)) }, () => rowOf(format, Math.floor(random() ** 3 * 5000), random))
    const others = [message('N', Buffer.from('a notice\0')), message('S', Buffer.from('TimeZone\0UTC\0')), message('c', Buffer.alloc(0))]
    const data = format === 'binary' ? withEnds(rows) : rows
    const messages = data.flatMap((row) => [...(random() < 0.2 ? [others[Math.floor(random() * 2)] as Buffer] : []), message('d', row)])
    const stream = Buffer.concat([...messages, others[2] as Buffer, message('C', Buffer.from(`COPY ${rows.length}\0`)), message('Z', Buffer.from('I'))])
    const { pieces, foreign } = await copied(format, cut(stream, isLarge ? 200_000 : random() < 0.3 ? 9 : 4000, random), { rows: rows.length })
    expect(Buffer.concat(pieces.map(({ bytes }) => bytes)).equals(Buffer.concat(rows))).toBe(true)
    expect(rowsOf(pieces)).toEqual(rows.map((row) => row.byteLength))
    const left = messages.filter((text) => text[0] !== 0x64)
    expect(foreign.equals(Buffer.concat([...left, stream.subarray(stream.byteLength - tailBytes(rows.length))]))).toBe(true)
  }
})

test('CopyOut fails when the messages are not one for each row', async () => {
  const stream = Buffer.concat([message('d', Buffer.from('a\nb\n')), message('C', Buffer.from('COPY 2\0')), message('Z', Buffer.from('I'))])
  await expect(copied('text', [stream], { rows: 2 })).rejects.toThrow('The server sent 1 messages of rows for the command tag "COPY 2"')
})

test('CopyOut reads ahead no more than its limit, and continues when what it has is read', async () => {
  const { stream, copy } = started('text', 1000)
  for (let row = 0; row < 10; row++) {
    stream.write(message('d', Buffer.alloc(600, 0x61)))
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(stream.isPaused()).toBe(true)
  expect(stream.readableLength).toBeGreaterThan(0)
  for (let row = 0; row < 10; ) row += (await copy.next())?.ends.length ?? 0
  expect(stream.isPaused()).toBe(false)
})

test('CopyOut gives the memory of a piece again when the next was asked for', async () => {
  const { stream, copy } = started('text', 1e9)
  const memory = new Set<ArrayBufferLike>()
  for (let row = 0; row < 10; row++) {
    stream.write(message('d', Buffer.alloc(600, 0x61)))
    memory.add((await copy.next())?.bytes.buffer ?? new ArrayBuffer(0))
  }
  expect(memory.size).toBeLessThanOrEqual(2)
})

/** Feeds a COPY, and lets it know what pg makes of the messages that it leaves to it. */
async function copied(format: CopyFormat, chunks: readonly Buffer[], { rows }: { readonly rows: number }): Promise<{ pieces: Piece[]; foreign: Buffer }> {
  const { stream, copy, foreign } = started(format, 1e9)
  let last = ''
  for (const chunk of chunks) {
    stream.write(Buffer.from(chunk))
    await new Promise((resolve) => setImmediate(resolve))
    const seen = Buffer.concat(foreign).toString('latin1')
    if (!last.includes('COPY') && seen.includes(`COPY ${rows}\0`)) copy.handleCommandComplete({ text: `COPY ${rows}` })
    last = seen
  }
  copy.handleReadyForQuery()
  const pieces: Piece[] = []
  for (let piece = await copy.next(); piece !== undefined; piece = await copy.next()) pieces.push({ bytes: Buffer.from(piece.bytes), ends: piece.ends.slice() })
  return { pieces, foreign: Buffer.concat(foreign) }
}

function started(format: CopyFormat, limitBytes: number): { stream: PassThrough; copy: CopyOut; foreign: Buffer[] } {
  const stream = new PassThrough({ highWaterMark: 1 })
  const foreign: Buffer[] = []
  stream.on('data', (chunk: Buffer) => foreign.push(Buffer.from(chunk)))
  const copy = new CopyOut('COPY', { format, limitBytes, toError: (error) => error as Error, wait: (answer) => answer })
  copy.submit({ stream, query: () => undefined, endCopyFrom: () => undefined, sendCopyFail: () => undefined })
  return { stream, copy, foreign }
}

function rowOf(format: CopyFormat, bytes: number, random: () => number): Buffer {
  if (format === 'text') return Buffer.from(`${'x'.repeat(bytes)}\n`)
  const row = Buffer.alloc(6 + bytes, Math.floor(random() * 256))
  row.writeInt16BE(1, 0)
  row.writeInt32BE(bytes, 2)
  return row
}

/** The header comes with the first row, the trailer by itself, both together when there is no row. */
function withEnds(rows: readonly Buffer[]): Buffer[] {
  const [first, ...others] = rows
  if (first === undefined) return [Buffer.concat([BINARY_HEADER, BINARY_TRAILER])]
  return [Buffer.concat([BINARY_HEADER, first]), ...others, BINARY_TRAILER]
}

function message(type: string, payload: Buffer): Buffer {
  const header = Buffer.alloc(5)
  header.write(type, 'latin1')
  header.writeInt32BE(payload.byteLength + 4, 1)
  return Buffer.concat([header, payload])
}

/** Of the messages after the rows. */
function tailBytes(rows: number): number {
  return 5 + (5 + `COPY ${rows}\0`.length) + 6
}

function cut(bytes: Buffer, most: number, random: () => number): Buffer[] {
  const chunks: Buffer[] = []
  for (let from = 0; from < bytes.byteLength; ) {
    const to = from + 1 + Math.floor(random() * most)
    chunks.push(bytes.subarray(from, to))
    from = to
  }
  return chunks
}

function rowsOf(pieces: readonly Piece[]): number[] {
  const lengths: number[] = []
  let begun = 0
  for (const { bytes, ends } of pieces) {
    let from = 0
    for (const end of ends) {
      lengths.push(begun + end - from)
      begun = 0
      from = end
    }
    begun += bytes.byteLength - from
  }
  return lengths
}
