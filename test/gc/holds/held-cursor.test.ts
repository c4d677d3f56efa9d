/** Looking up pages of payload IDs in what is held. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Holder, HoldSource } from '../../../src/gc/holds/hold-source.ts'
import type { PayloadIdsCache } from '../../../src/gc/leases/payload-ids-cache.ts'
import { HeldCursor } from '../../../src/gc/holds/held-cursor.ts'
import { readUnion } from '../../../src/gc/holds/hold-union.ts'
import { IdPage } from '../../../src/gc/holds/id-page.ts'
import { PayloadIdSetBuilder } from '../../../src/payload-ids/payload-id-set.ts'
import { collect } from '../../support/collect.ts'
import { runs, seed } from '../../support/seed.ts'
import { memorySets, memoryUnions, sourceWithCopy } from './memory-unions.ts'

type Ids = readonly string[]

const ascending = (payloadIds: Ids): Ids => [...new Set(payloadIds)].toSorted()
const hex = (number: number, digits: number): string => number.toString(16).padStart(digits, '0')

/** Packed ones that differ early or late, shorter ones that are packed otherwise, and texts. */
const payloadId: fc.Arbitrary<string> = fc.oneof(
  { weight: 6, arbitrary: fc.nat(80).map((number) => hex(number, 2).repeat(16)) },
  { weight: 3, arbitrary: fc.nat(80).map((number) => hex(number, 32)) },
  { weight: 1, arbitrary: fc.oneof(fc.nat(20).map((number) => hex(number, 4)), fc.nat(20).map((number) => `p${number}`), fc.nat(20).map((number) => `00AB${number}`)) },
)
const packedOnly: fc.Arbitrary<string> = fc.nat(300).map((number) => hex(number * 7, 32))
const some = (ids: fc.Arbitrary<string>): fc.Arbitrary<Ids> => fc.array(ids, { maxLength: 120 }).map(ascending)

async function sourceOf(payloadIds: Ids, index: number, sets: PayloadIdsCache): Promise<HoldSource> {
  const builder = new PayloadIdSetBuilder()
  for (const one of payloadIds) builder.add(one)
  const set = await builder.finish()
  const bytes = await collect(set.encoded())
  const name = { count: set.size, bytes: set.bytes, sha256: set.digest }
  const read = async function* (): AsyncGenerator<Uint8Array> {
    yield* bytes
  }
  const holder: Holder = { kind: 'lease', leaseId: String(index), purpose: 'backup', storeId: undefined, since: '', payloadIds: name }
  return { ...sourceWithCopy(name, read, sets), holders: [holder] }
}

function pagesOf(payloadIds: Ids, size: number): readonly IdPage[] {
  const pages: IdPage[] = []
  for (let from = 0; from < payloadIds.length; from += size) pages.push(IdPage.of(payloadIds.slice(from, from + size)))
  return pages
}

const distinct = (sets: readonly Ids[]): readonly Ids[] => [...new Map(sets.map((set) => [set.join(' '), set])).values()]

test('finds what any set has, in the union and beside it, and counts it for each', async () => {
  const drawn = fc.constantFrom(packedOnly, payloadId).chain((ids) => fc.tuple(fc.array(some(ids), { minLength: 1, maxLength: 7 }), some(ids)))
  await fc.assert(
    fc.asyncProperty(drawn, fc.integer({ min: 1, max: 40 }), fc.nat(6), async ([drawn, listed], size, gone) => {
      const all = distinct(drawn)
      const [unions, sets] = [memoryUnions(), memorySets()]
      const sources = await Promise.all(all.map((ids, index) => sourceOf(ids, index, sets)))
      await (await readUnion(sources.slice(0, Math.ceil(sources.length / 2)), unions)).close()
      const [held, heldSets] = [sources.filter((_, index) => index !== gone), all.filter((_, index) => index !== gone)]
      const cursor = new HeldCursor(await readUnion(held, unions), held)
      const found: string[] = []
      for (const page of pagesOf(listed, size)) {
        await cursor.find(page)
        for (const [index, one] of page.payloadIds.entries()) {
          if (!cursor.has(index)) continue
          found.push(one)
          cursor.count(index, 10)
        }
      }
      const holdersOf = (one: string): number => heldSets.filter((set) => set.includes(one)).length
      expect(found).toEqual(listed.filter((one) => holdersOf(one) > 0))
      const expected = heldSets.map((set) => listed.filter((one) => set.includes(one)))
      const counts = cursor.heldBy().map(({ holder, payloads, alone }) => [holder.kind === 'lease' && holder.leaseId, payloads, alone.payloads])
      const wanted = expected.map((kept, index) => {
        const holder = held[index]?.holders[0]
        return [holder?.kind === 'lease' && holder.leaseId, { payloads: kept.length, bytes: 10 * kept.length }, kept.filter((one) => holdersOf(one) === 1).length] as const
      })
      expect(counts).toEqual(wanted.filter(([, { payloads }]) => payloads > 0))
      await cursor.close()
    }),
    { seed, numRuns: runs(150) },
  )
})

test('tells where IDs do not ascend', () => {
  const a = '0'.repeat(64)
  const [b, c] = [`${'0'.repeat(62)}01`, `01${'0'.repeat(62)}`]
  expect(IdPage.of([a, b, c]).disorderAfter(undefined)).toBe(-1)
  expect(IdPage.of([a, b, c]).disorderAfter(a)).toBe(0)
  expect(IdPage.of([b, a, c]).disorderAfter('/')).toBe(1)
  expect(IdPage.of([a, c, b]).disorderAfter('/')).toBe(2)
  expect(IdPage.of([a, b, b]).disorderAfter('/')).toBe(2)
  expect(IdPage.of(['p', 'q', 'q']).disorderAfter('a')).toBe(2)
  expect(IdPage.of([]).disorderAfter('a')).toBe(-1)
})
