/** Streams of any records, and anything that can happen to them. The seed of a failure is printed; HOLDFAST_SEED replays it. */
import { randomBytes } from 'node:crypto'
import { encode } from 'cbor-x'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { isHoldfastError } from '../../src/errors/errors.ts'
import { MAX_FRAME_RECORDS, decodeRecords } from '../../src/format/records.ts'
import type { StoredRecord } from '../../src/format/snapshot-reader.ts'
import { runs, seed } from '../support/seed.ts'
import { type Frame, changed, flipped, frames, pieces, sealed } from '../support/stream-surgery.ts'
import { type FrameRecords, chunksOf, failureOf, readStreamWhole, writeStream } from '../support/streams.ts'
import { readStream } from './format-reader.ts'

const check = (count: number): { readonly seed: number; readonly numRuns: number } => ({ seed, numRuns: runs(count) })

const text = fc.oneof(fc.string({ unit: 'binary' }), fc.string(), fc.constant('\ufeff\ufffd'))
const bytes = fc.uint8Array({ maxLength: 40 })
const long = fc.tuple(fc.string({ minLength: 1, maxLength: 4, unit: 'binary' }), fc.integer({ min: 20, max: 70_000 })).map(([text, times]) => text.repeat(times))
const value = fc.oneof({ weight: 8, arbitrary: text }, { weight: 4, arbitrary: bytes }, { weight: 1, arbitrary: long.filter((text) => text.length < 200_000) })
const texts = value.filter((value) => typeof value === 'string')
const column = fc.constantFrom(texts, bytes)
const records: fc.Arbitrary<StoredRecord[]> = fc
  .tuple(column, column)
  .chain(([key, value]) => fc.array(fc.tuple<[string | Uint8Array, string | Uint8Array]>(key, value), { minLength: 1, maxLength: 30 }))
const data: fc.Arbitrary<FrameRecords[]> = fc
  .array(fc.record({ section: fc.nat(2), records }), { maxLength: 6 })
  .map((list) => list.toSorted((left, right) => left.section - right.section))
const chunking = fc.array(fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 5000 })), { minLength: 1, maxLength: 5 }).map((lengths) => [0, ...lengths])

const SMALL: readonly FrameRecords[] = [
  { section: 0, records: [['a', 'one'], ['b', 'two']] },
  { section: 0, records: [['c', Uint8Array.of(0, 255)]] },
  { section: 1, records: [['m', 'é']] },
  { section: 2, records: [['x', '']] },
]

/** A larger stream of small frames. */
const larger = (storeId: string): Promise<{ bytes: Buffer }> =>
  writeStream(
    Array.from({ length: 60 }, (_, frame) => ({
      section: Math.floor(frame / 20),
      records: Array.from({ length: 20 }, (_, index): StoredRecord => [`${frame}/${index}`, `${storeId} ${'x'.repeat(index)}`]),
    })),
    { storeId },
  )

const counts = { damaged: 0, arbitrary: 0 }
afterAll(() => console.log(`streams: ${counts.damaged} damaged ones and ${counts.arbitrary} of arbitrary bytes, every one refused`))

async function corruption(stream: Buffer, lengths: readonly number[] = [1 << 20], kind: keyof typeof counts = 'damaged'): Promise<string | undefined> {
  const { code } = await failureOf(readStreamWhole(chunksOf(stream, lengths)))
  counts[kind] += 1
  return code
}

describe('a stream', () => {
  it('gives any records back in any chunking, to this reader and to one that knows FORMAT.md alone', async () => {
    await fc.assert(
      fc.asyncProperty(data, chunking, async (data, lengths) => {
        const { bytes, summary } = await writeStream(data)
        const read = await readStreamWhole(chunksOf(bytes, lengths.some((length) => length > 100) ? lengths : [64, ...lengths]))
        expect(read.data).toEqual(data)
        // The manifest says what frames hold; a stream does not.
        expect(read.summary).toEqual({ ...summary, content: undefined })
        expect(readStream(bytes).records.length).toBe(data.reduce((sum, { records }) => sum + records.length, 0))
      }),
      check(400),
    )
  })

  it('takes a record that fills a frame, compressed or not: what cannot be compressed stays as it is', async () => {
    const records: StoredRecord[] = [['k', randomBytes(16 * 1024 * 1024 - 64)]]
    for (const compress of ['none', 'zstd'] as const) {
      const { bytes, summary } = await writeStream([{ section: 0, records }], { compress })
      const { codec, rawBytes } = frames(bytes)[1] as Frame
      expect([codec, rawBytes]).toEqual([0, 16 * 1024 * 1024 - 34])
      expect(summary.compression).toBe('none')
      expect((await readStreamWhole(chunksOf(bytes, [1 << 20]))).summary).toEqual({ ...summary, content: undefined })
    }
  })

  it('with any one bit flipped is restore_corrupt', async () => {
    const { bytes } = await writeStream(SMALL)
    for (let bit = 0; bit < bytes.byteLength * 8; bit++) {
      expect(await corruption(flipped(bytes, bit)), `bit ${bit}`).toBe('restore_corrupt')
    }
  })

  it('cut at any byte is restore_corrupt at its end', async () => {
    const { bytes } = await writeStream(SMALL)
    for (let length = 0; length < bytes.byteLength; length++) {
      const { code, offset } = await failureOf(readStreamWhole(chunksOf(bytes.subarray(0, length), [50])))
      expect({ code, offset }).toEqual({ code: 'restore_corrupt', offset: length })
      counts.damaged += 1
    }
  })

  it('followed by any bytes is restore_corrupt at its end', async () => {
    const { bytes } = await writeStream(SMALL)
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1 }), chunking, async (more, lengths) => {
        const { code, offset } = await failureOf(readStreamWhole(chunksOf(Buffer.concat([bytes, more]), lengths)))
        expect({ code, offset }).toEqual({ code: 'restore_corrupt', offset: bytes.byteLength })
        counts.damaged += 1
      }),
      check(300),
    )
  })

  it('of some size with any one bit flipped is restore_corrupt', async () => {
    const { bytes } = await larger('one')
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.byteLength * 8 - 1), async (bit) => {
        expect(await corruption(flipped(bytes, bit))).toBe('restore_corrupt')
      }),
      check(10_000),
    )
  })

  it('with any bytes replaced, taken out or put in is restore_corrupt', async () => {
    const { bytes } = await larger('one')
    const edit = fc.record({ at: fc.nat(bytes.byteLength), remove: fc.nat(200), add: fc.uint8Array({ maxLength: 60 }) })
    await fc.assert(
      fc.asyncProperty(edit, async ({ at, remove, add }) => {
        const damaged = Buffer.concat([bytes.subarray(0, at), add, bytes.subarray(at + remove)])
        fc.pre(!damaged.equals(bytes))
        expect(await corruption(damaged)).toBe('restore_corrupt')
      }),
      check(1000),
    )
  })

  it('with frames dropped, doubled, swapped, or from another stream is restore_corrupt, renumbered or not', async () => {
    const [one, two] = await Promise.all([larger('one'), larger('two')])
    const parts = [...pieces(one.bytes), ...pieces(two.bytes).slice(1)]
    const whole = parts.length / 2
    const step = fc.record({ kind: fc.constantFrom('drop', 'double', 'swap', 'splice'), at: fc.integer({ min: 1, max: 61 }), other: fc.integer({ min: 1, max: 122 }) })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 3 }), fc.boolean(), async (steps, renumber) => {
        let list = parts.slice(0, Math.ceil(whole))
        for (const { kind, at, other } of steps) list = moved(list, parts, kind, at, other)
        const damaged = Buffer.concat(renumber ? list.map(renumbered) : list)
        fc.pre(!damaged.equals(one.bytes) && !damaged.equals(two.bytes))
        expect(await corruption(damaged)).toBe('restore_corrupt')
      }),
      check(1500),
    )
  })
})

describe('SnapshotReader', () => {
  it('never crashes, hangs or accepts arbitrary bytes', async () => {
    const { bytes: whole } = await writeStream(SMALL)
    const beginning = fc.nat(whole.byteLength - 1).map((length) => whole.subarray(0, length))
    await fc.assert(
      fc.asyncProperty(beginning, fc.uint8Array({ maxLength: 400 }), chunking, async (start, rest, lengths) => {
        const bytes = Buffer.concat([start, rest])
        fc.pre(!bytes.equals(whole))
        expect(await corruption(bytes, lengths, 'arbitrary')).toMatch(/^(restore_corrupt|schema_version_mismatch)$/)
      }),
      check(1500),
    )
  })

  it('never crashes, hangs or fails without a code for frames that say anything, with right CRCs', async () => {
    const list = frames((await writeStream(SMALL)).bytes)
    const number = fc.oneof(fc.nat(5), fc.constantFrom(0x7fffffff, 0x80000000, 0xffffffff, 16_777_216, 16_777_217, 67_108_864))
    const field = fc.record(
      {
        storedBytes: number,
        type: fc.nat(5),
        codec: fc.nat(3),
        section: fc.oneof(fc.nat(4), fc.constant(0xffff)),
        records: number,
        rawBytes: number,
        sequence: fc.oneof(fc.bigInt(0n, 6n), fc.constantFrom(2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 64n - 1n)),
        stored: fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
      },
      { requiredKeys: [] },
    )
    await fc.assert(
      fc.asyncProperty(fc.nat(list.length - 1), field, async (index, change) => {
        const { stored, ...others } = change
        const content: Partial<Frame> = stored === undefined ? {} : { stored, rawBytes: stored.byteLength }
        const bytes = sealed(changed(list, index, { ...content, ...(others as Partial<Frame>) }), { keepDigest: true })
        const outcome = await readStreamWhole(chunksOf(bytes)).catch((error: unknown) => error)
        if (outcome instanceof Error) expect(isHoldfastError(outcome) && outcome.code).toMatch(/^(restore_corrupt|backup_unsupported)$/)
      }),
      check(2000),
    )
  })
})

describe('decodeRecords()', () => {
  const frame = (bytes: Uint8Array, records: number): Parameters<typeof decodeRecords>[0] => ({ sequence: 7, offset: 99, records, data: bytes })
  const initial = fc.oneof(fc.constantFrom(0x81, 0x82, 0x60, 0x61, 0x41, 0x9a, 0x9b, 0x5b, 0x7b, 0xbf, 0xc0, 0xf6, 0x9f, 0x7f), fc.nat(255))

  it('decodes arbitrary bytes to records that encode them, or fails with restore_corrupt', () => {
    fc.assert(
      fc.property(fc.array(initial, { maxLength: 60 }), fc.nat(4), (bytes, records) => {
        try {
          expect(decodeRecords(frame(Uint8Array.from([0x80 + records, ...bytes]), records)).length).toBe(records)
        } catch (error) {
          expect(error).toMatchObject({ code: 'restore_corrupt', frame: 7, offset: 99 })
        }
      }),
      check(3000),
    )
  })

  it('refuses more than 65,536 records, however few bytes they take', () => {
    const records = (count: number): Buffer => encode([Buffer.alloc(4 * count), '', Buffer.alloc(4 * count), ''])
    expect(decodeRecords(frame(records(MAX_FRAME_RECORDS), MAX_FRAME_RECORDS)).length).toBe(MAX_FRAME_RECORDS)
    expect(() => decodeRecords(frame(records(MAX_FRAME_RECORDS + 1), MAX_FRAME_RECORDS + 1))).toThrow(expect.objectContaining({ code: 'restore_corrupt' }))
  })
})

function moved(list: readonly Buffer[], parts: readonly Buffer[], kind: string, at: number, other: number): Buffer[] {
  const piece = (index: number): Buffer => list[index % list.length] as Buffer
  if (kind === 'drop') return list.toSpliced(at, 1)
  if (kind === 'double') return list.toSpliced(at, 0, piece(at))
  if (kind === 'swap') return list.with(at % list.length, piece(other)).with(other % list.length, piece(at))
  return list.toSpliced(at, 1, parts[other] as Buffer)
}

/** The same frame with the sequence number that its place asks for. */
function renumbered(piece: Buffer, index: number): Buffer {
  if (index === 0 || piece.byteLength < 24) return piece
  const copy = Buffer.from(piece)
  copy.writeBigUInt64LE(BigInt(index - 1), 16)
  return copy
}
