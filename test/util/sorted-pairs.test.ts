import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { SortedPairs } from '../../src/util/sorted-pairs.ts'
import { randomFrom, runs, seed } from '../support/seed.ts'

function read(pairs: SortedPairs): (readonly [number, number])[] {
  const found: (readonly [number, number])[] = []
  for (const cursor = pairs.sorted(); cursor.key !== Number.POSITIVE_INFINITY; cursor.next()) found.push([cursor.key, cursor.value])
  return found
}

function inOrder(pairs: readonly (readonly [number, number])[]): (readonly [number, number])[] {
  return pairs.toSorted(([a, x], [b, y]) => a - b || x - y)
}

test('SortedPairs gives back what it took, in the order of the keys, as often as asked', () => {
  const number = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }))
  fc.assert(
    fc.property(fc.array(fc.tuple(number, fc.integer())), (given) => {
      const pairs = new SortedPairs()
      for (const [key, value] of given) pairs.add(key, value)
      const first = read(pairs)
      expect(first.map(([key]) => key)).toEqual(given.map(([key]) => key).toSorted((a, b) => a - b))
      expect(inOrder(first)).toEqual(inOrder(given))
      expect(read(pairs)).toEqual(first)
      pairs.close()
    }),
    { seed, numRuns: runs(200) },
  )
})

test.each([
  ['in any order', (random: () => number) => Math.floor(random() * 2 ** 40)],
  ['in order', (_: () => number, at: number) => at],
  ['in order, but in turns from two ends', (_: () => number, at: number) => (at % 2 === 0 ? at : 3_000_000 - at)],
])('SortedPairs sorts more than it keeps in memory, that come %s', (_, keyOf) => {
  const random = randomFrom(seed)
  const count = 1_300_000
  const pairs = new SortedPairs()
  let [sum, last, read] = [0, 0, 0]
  for (let at = 0; at < count; at++) {
    const key = keyOf(random, at)
    sum = (sum + (key % 1013) * (at % 1009)) % 1e9
    pairs.add(key, at)
  }
  expect(pairs.size).toBe(count)
  let sumRead = 0
  const seen = new Uint8Array(count)
  for (const cursor = pairs.sorted(); cursor.key !== Number.POSITIVE_INFINITY; cursor.next(), read++) {
    if (cursor.key < last) expect.fail(`${cursor.key} comes after ${last}`)
    last = cursor.key
    seen[cursor.value] = 1
    sumRead = (sumRead + (cursor.key % 1013) * (cursor.value % 1009)) % 1e9
  }
  pairs.close()
  expect([read, sumRead, seen.every((is) => is === 1)]).toEqual([count, sum, true])
})
