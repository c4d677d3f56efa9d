import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PayloadIdSet, PayloadIdSetBuilder, type PayloadIdSetOptions, checkPayloadId, decodePayloadIds, emptyPayloadIdSet } from '../../src/payload-ids/payload-id-set.ts'
import { idsOf, packedLines } from '../../src/payload-ids/id-list.ts'
import { Spill } from '../../src/payload-ids/spill.ts'
import { DestinationNoSpaceError } from '../../src/errors/errors.ts'
import { canLimitFileSize, limitFileSize } from '../support/file-size-limit.ts'
import { readPayloadIds } from '../format/format-reader.ts'
import { runs, seed } from '../support/seed.ts'
import { chunksOf, collect, failureOf } from '../support/streams.ts'
import { tempDir } from '../support/temp-dir.ts'

const check = (count: number): { readonly seed: number; readonly numRuns: number } => ({ seed, numRuns: runs(count) })

const character = fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code))
const text = fc.string({ unit: character, minLength: 1, maxLength: 255 })
const hex = fc.uint8Array({ minLength: 1, maxLength: 127 }).map((bytes) => Buffer.from(bytes).toString('hex'))
const sha256 = fc.nat(500).map((number) => createHash('sha256').update(String(number)).digest('hex'))
const near = fc.tuple(fc.constantFrom('a', 'ab', '00ff', 'share/block-'), fc.nat(30)).map(([prefix, number]) => prefix + number)
const anyId = fc.oneof(text, hex, sha256, near)
const anyIds = fc.oneof(fc.array(sha256, { maxLength: 200 }), fc.array(anyId, { maxLength: 60 }), fc.array(hex, { maxLength: 60 }))
const chunking = fc.array(fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 10, max: 5000 })), { minLength: 1, maxLength: 4 })

const digestName = (number: number): string => createHash('sha256').update(`payload ${number}`).digest('hex')

async function setOf(ids: Iterable<string>, options: PayloadIdSetOptions = {}): Promise<PayloadIdSet> {
  const builder = new PayloadIdSetBuilder(options)
  for (const id of ids) builder.add(id)
  return await builder.finish()
}

async function encodedOf(set: PayloadIdSet): Promise<Buffer> {
  return Buffer.concat(await collect(set.encoded()))
}

it('PayloadIdSetBuilder.finish() gives way to the event loop, however often the IDs of its runs repeat', async () => {
  const builder = new PayloadIdSetBuilder()
  // Each run has the same 30,000, in another order than they have.
  const names = Array.from({ length: 30_000 }, (_, number) => digestName(number))
  for (let time = 0; time < 12; time++) for (const name of names) builder.add(name)
  let turns = 0
  let counting = setImmediate(function count() {
    turns += 1
    counting = setImmediate(count)
  })
  await using set = await builder.finish()
  clearImmediate(counting)
  expect(set.size).toBe(30_000)
  expect(turns).toBeGreaterThan(6)
})

describe('PayloadIdSet', () => {
  it('has the IDs it was built from, sorted and once, for this reader and one that knows FORMAT.md alone', async () => {
    await fc.assert(
      fc.asyncProperty(anyIds, fc.constantFrom(1, 100, 100_000), async (ids, memoryLimitBytes) => {
        await using set = await setOf(ids, { memoryLimitBytes })
        const expected = [...new Set(ids)].toSorted()
        expect(await collect(set)).toEqual(expected)
        expect(set.size).toBe(expected.length)
        const object = await encodedOf(set)
        expect(readPayloadIds(object)).toEqual(expected)
        expect(set.digest).toBe(createHash('sha256').update(object).digest('hex'))
      }),
      check(500),
    )
  })

  it('has one encoding, whatever the order, the repetitions and the memory it was built with', async () => {
    await fc.assert(
      fc.asyncProperty(anyIds, fc.integer(), fc.constantFrom(1, 300, 5000), async (ids, turn, memoryLimitBytes) => {
        await using set = await setOf(ids)
        const others = [...ids, ...ids.slice(0, 5)].toSorted((left, right) => digestName(left.length + turn).localeCompare(digestName(right.length + turn)) || (left < right ? 1 : -1))
        await using again = await setOf(others, { memoryLimitBytes })
        expect(again.digest).toBe(set.digest)
        expect(await encodedOf(again)).toEqual(await encodedOf(set))
      }),
      check(300),
    )
  })

  it('merges more IDs than a run holds, in memory and spilled, in blocks of 1,024', async () => {
    const count = 150_000
    const ids = Array.from({ length: count }, (_, index) => digestName(index % 140_000))
    const expected = [...new Set(ids)].toSorted()
    const directory = await tempDir()
    for (const options of [{}, { memoryLimitBytes: 64 * 1024, spillDirectory: directory }]) {
      await using set = await setOf(ids, options)
      expect(set.size).toBe(expected.length)
      expect(await collect(set)).toEqual(expected)
      expect((await encodedOf(set)).byteLength / set.size).toBeLessThan(33)
      expect(await readdir(directory)).toEqual([])
    }
  })

  it.skipIf(!canLimitFileSize)('takes nothing more after a write to its file was cut off', async () => {
    const spill = new Spill({ memoryLimitBytes: 0, spillDirectory: await tempDir() })
    limitFileSize(10)
    try {
      expect(() => spill.append(Buffer.alloc(20))).toThrow(DestinationNoSpaceError)
    } finally {
      limitFileSize('unlimited')
    }
    expect(() => spill.append(Buffer.alloc(20))).toThrow(TypeError)
    await expect(collect(spill.read())).rejects.toThrow(TypeError)
  })

  it('merges runs of digests with runs of other IDs', async () => {
    const ids = Array.from({ length: 5000 }, (_, index) => (Math.floor(index / 1024) % 2 === 0 ? digestName(index) : `share-${index % 700}`))
    await using set = await setOf(ids, { memoryLimitBytes: 2000 })
    expect(await collect(set)).toEqual([...new Set(ids)].toSorted())
  })

  it('is the same after it was detached and taken over', async () => {
    for (const memoryLimitBytes of [1, 1_000_000]) {
      const set = await setOf(['b', 'a', digestName(1)], { memoryLimitBytes })
      const { digest } = set
      const state = structuredClone(set.detach())
      await expect(collect(set)).rejects.toThrow(TypeError)
      await using taken = PayloadIdSet.from(state)
      expect(taken.digest).toBe(digest)
      expect(await collect(taken)).toEqual([digestName(1), 'a', 'b'].toSorted())
    }
  })

  it('of nothing is the preamble alone', async () => {
    await using set = await emptyPayloadIdSet()
    expect(set.size).toBe(0)
    expect((await encodedOf(set)).toString('hex')).toBe('894846490d0a0100')
  })

  it('can be closed twice, and not be read then', async () => {
    const set = await setOf(['a'], { memoryLimitBytes: 1 })
    await set.close()
    await set.close()
    await expect(collect(set)).rejects.toThrow(TypeError)
  })
})

describe('PayloadIdSetBuilder', () => {
  it('refuses a malformed payload ID, alone and among digests', async () => {
    for (const id of ['', ' ', 'a b', 'a\n', 'é', 'x'.repeat(256), '\u{1f600}']) {
      const builder = new PayloadIdSetBuilder()
      for (let index = 0; index < 10; index++) builder.add(digestName(index))
      builder.add(id)
      expect(await failureOf(builder.finish()), JSON.stringify(id)).toMatchObject({ code: 'invalid_argument' })
      await builder.close()
      expect(() => checkPayloadId(id)).toThrow(expect.objectContaining({ code: 'invalid_argument' }))
    }
  })

  it('does not take capital hex digits for small ones', async () => {
    await using set = await setOf(['AB', 'ab', 'aB', 'CD'])
    expect(await collect(set)).toEqual(['AB', 'CD', 'aB', 'ab'])
  })

  it('addLines() adds each line', async () => {
    const builder = new PayloadIdSetBuilder()
    builder.addLines(Buffer.alloc(0))
    builder.addLines(Buffer.from('b\na\n'))
    await using set = await builder.finish()
    expect(await collect(set)).toEqual(['a', 'b'])
  })
})

describe('decodePayloadIds()', () => {
  it('reads an object in any chunking', async () => {
    await fc.assert(
      fc.asyncProperty(anyIds, chunking, async (ids, lengths) => {
        await using set = await setOf(ids)
        expect(await collect(decodePayloadIds(chunksOf(await encodedOf(set), lengths)))).toEqual([...new Set(ids)].toSorted())
      }),
      check(200),
    )
  })

  it('finds a cut anywhere but between blocks, and gives a true beginning there', async () => {
    await using set = await setOf(['a', 'bc', 'sha-1', digestName(1), digestName(2)])
    const object = await encodedOf(set)
    const all = await collect(set)
    for (let length = 0; length < object.byteLength; length++) {
      const read = await collect(decodePayloadIds(chunksOf(object.subarray(0, length), [3]))).catch((error: { code: string }) => error.code)
      if (read === 'restore_corrupt') continue
      expect(all.slice(0, read.length)).toEqual(read)
    }
  })

  it('reads what is not the same set as such, or refuses it, for any flipped bit', async () => {
    await using set = await setOf([...Array.from({ length: 40 }, (_, index) => digestName(index)), 'x', 'xy', 'share/1', 'share/2'])
    const object = await encodedOf(set)
    for (let bit = 0; bit < object.byteLength * 8; bit++) {
      const damaged = Buffer.from(object)
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      // A digit may be another's: then the digest tells. Nothing else may happen.
      const read = await collect(decodePayloadIds(chunksOf(damaged))).catch((error: { code: string }) => error.code)
      if (read === 'restore_corrupt') continue
      expect(read).toEqual(readPayloadIds(damaged))
      await using other = await setOf(read as string[])
      expect(other.digest).toBe(createHash('sha256').update(damaged).digest('hex'))
    }
  })

  it('ends any bytes with IDs or restore_corrupt', async () => {
    const preamble = Buffer.from('894846490d0a0100', 'hex')
    const header = fc.tuple(fc.nat(300), fc.nat(5), fc.nat(40), fc.nat(40)).map(([length, count, width, shared]) => {
      const bytes = Buffer.alloc(8)
      bytes.writeUInt32LE(length)
      bytes.writeUInt16LE(count, 4)
      bytes.writeUInt8(width, 6)
      bytes.writeUInt8(shared, 7)
      return bytes
    })
    await fc.assert(
      fc.asyncProperty(header, fc.uint8Array({ maxLength: 400 }), chunking, async (header, bytes, lengths) => {
        const read = await collect(decodePayloadIds(chunksOf(Buffer.concat([preamble, header, bytes]), lengths))).catch((error: { code: string }) => error.code)
        if (typeof read === 'string') expect(read).toBe('restore_corrupt')
      }),
      check(2000),
    )
  })
})

describe('packedLines()', () => {
  const linesOf = (ids: readonly string[]): Buffer => Buffer.from(ids.map((id) => `${id}\n`).join(''), 'latin1')

  it('packs lines of lower-case hex of one even length, in their order', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 127 }), fc.array(fc.nat(), { minLength: 1, maxLength: 50 }), (width, seeds) => {
        const ids = seeds.map((number) => createHash('shake256', { outputLength: width }).update(String(number)).digest('hex'))
        const list = packedLines(linesOf(ids))
        expect(list).toMatchObject({ width, count: ids.length })
        expect(list === undefined ? [] : idsOf(list)).toEqual(ids)
      }),
      check(100),
    )
  })

  it.each([
    ['nothing', []],
    ['an odd length', ['abc', 'def']],
    ['another length', ['abcd', 'abcdef']],
    ['lengths that make up for each other', ['abcd', 'ab', 'abcdef']],
    ['an empty line', ['']],
    ['a capital', ['abcd', 'abCd']],
    ['no digit in the first place', ['abcd', 'gbcd']],
    ['no digit in the second place', ['abcd', 'a\xffcd']],
    ['more than an ID may have', ['ab'.repeat(128)]],
  ])('leaves %s alone', (_, ids) => {
    expect(packedLines(linesOf(ids))).toBeUndefined()
  })

  it('leaves a line without an end alone', () => {
    expect(packedLines(Buffer.from('abcd\nabcd'))).toBeUndefined()
  })
})
