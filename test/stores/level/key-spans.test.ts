import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { compareKeys, nameOfKey } from '../../../src/format/record-order.ts'
import { FOREIGN_SPAN, OWN_SPAN, SpanCursor, dataRanges, keySpans } from '../../../src/stores/level/engine/key-spans.ts'
import { runs, seed } from '../../support/seed.ts'

const anyKey = fc.oneof(fc.string({ unit: 'binary', maxLength: 6 }), fc.uint8Array({ maxLength: 6 }))

test('compareKeys() orders texts and bytes as their bytes are ordered', () => {
  fc.assert(
    fc.property(anyKey, anyKey, (left, right) => {
      expect(compareKeys(left, right)).toBe(Buffer.compare(Buffer.from(left), Buffer.from(right)))
    }),
    { seed, numRuns: runs(2000) },
  )
  expect(compareKeys('\u{10000}', '\uffff')).toBe(1)
})

test('keySpans() covers all keys, each once', () => {
  const spans = keySpans([{ name: 'a', gte: 'a', lt: 'b' }, { name: 'b', gte: 'b', lt: 'c' }, { name: 'd', gte: 'd' }], { gte: 'c1', lt: 'c2' })
  expect(spans.map(({ section, lt }) => [section, lt])).toEqual([
    [FOREIGN_SPAN, 'a'],
    [0, 'b'],
    [1, 'c'],
    [FOREIGN_SPAN, 'c1'],
    [OWN_SPAN, 'c2'],
    [FOREIGN_SPAN, 'd'],
    [2, undefined],
  ])
})

test('keySpans() cuts a section around the own keys that lie in it', () => {
  expect(spansAround({ gte: 'm', lt: 'n' })).toEqual([[0, 'm'], [OWN_SPAN, 'n'], [0, undefined]])
  expect(spansAround({ lt: 'n' })).toEqual([[OWN_SPAN, 'n'], [0, undefined]])
  expect(spansAround({ gte: 'm' })).toEqual([[0, 'm'], [OWN_SPAN, undefined]])
})

test('keySpans() refuses ranges that overlap, are empty or out of order, with RangeError', () => {
  for (const sections of [
    [{ name: 'b', gte: 'b' }, { name: 'a', lt: 'b' }],
    [{ name: 'a', lt: 'c' }, { name: 'b', gte: 'b' }],
    [{ name: 'a', gte: 'b', lt: 'b' }],
    [{ name: 'a' }, { name: 'b' }],
  ]) {
    expect(() => keySpans(sections, undefined)).toThrow(RangeError)
  }
  expect(() => keySpans([{ name: 'a', lt: 'c' }, { name: 'b', gte: 'c' }], { gte: 'b', lt: 'd' })).toThrow(RangeError)
})

test('SpanCursor finds the span of ascending keys', () => {
  const cursor = new SpanCursor(keySpans([{ name: 'a', gte: 'a', lt: 'b' }, { name: 'c', gte: 'c' }], undefined))
  expect(['', 'Z', 'a', 'azz', 'b', 'bb', 'c', '\u{10ffff}'].map((key) => cursor.of(key).name)).toEqual(['', '', 'a', 'a', '', '', 'c', 'c'])
})

test('dataRanges() is all keys but the own', () => {
  expect(dataRanges(undefined)).toEqual([{}])
  expect(dataRanges({ gte: 'm', lt: 'n' })).toEqual([{ lt: 'm' }, { gte: 'n' }])
  expect(dataRanges({ gte: 'm' })).toEqual([{ lt: 'm' }])
  expect(dataRanges({})).toEqual([])
})

test('nameOfKey() gives text as it is and bytes in hexadecimal, cut when long', () => {
  expect([nameOfKey('a/b'), nameOfKey(Uint8Array.of(0, 255)), nameOfKey('x'.repeat(1000)).length]).toEqual(['a/b', '0x00ff', 300])
})

function spansAround(own: { gte?: string; lt?: string }): unknown {
  return keySpans([{ name: 'all' }], own).map(({ section, lt }) => [section, lt])
}
