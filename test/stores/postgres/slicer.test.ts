import { expect, test } from 'vitest'
import { MAX_SLICE_BYTES, SLICE_BYTES } from '../../../src/stores/postgres/snapshot/archive.ts'
import { Slicer } from '../../../src/stores/postgres/snapshot/slicer.ts'
import { randomFrom, runs, seed } from '../../support/seed.ts'

const TRAILER = Buffer.from([0xff, 0xff])

test(`Slicer cuts at the same places however the bytes come, between rows unless a row is too long (seed ${seed})`, () => {
  const random = randomFrom(seed)
  for (let round = 0; round < runs(12); round++) {
    const rows = Array.from({ length: 60 }, () => 1 + Math.floor(random() ** 8 * 2.5 * MAX_SLICE_BYTES))
    const ends = rows.map((_, index) => rows.slice(0, index + 1).reduce((sum, bytes) => sum + bytes, 0))
    const total = ends.at(-1) ?? 0
    const expected = slicesOf(ends, total, () => total)
    const actual = slicesOf(ends, total, () => 1 + Math.floor(random() * 3e6))
    expect(actual).toEqual(expected)
    expect(expected.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(total + TRAILER.byteLength)
    expect(expected.reduce((sum, slice) => sum + slice.rows, 0)).toBe(rows.length)
    let at = 0
    for (const { bytes } of expected.slice(0, -1)) {
      at += bytes
      if (ends.includes(at)) expect(bytes >= SLICE_BYTES && bytes <= MAX_SLICE_BYTES).toBe(true)
      else expect(bytes).toBe(MAX_SLICE_BYTES)
    }
  }
})

test('Slicer gives nothing for nothing, and no slice of a trailer alone', () => {
  expect(new Slicer().end(TRAILER)).toBeUndefined()
  const slicer = new Slicer()
  expect([...slicer.add({ bytes: Buffer.alloc(SLICE_BYTES), ends: Uint32Array.of(SLICE_BYTES) })]).toEqual([])
  expect(slicer.end(TRAILER)).toMatchObject({ entry: { contentBytes: SLICE_BYTES + TRAILER.byteLength }, rows: 1 })
})

function slicesOf(ends: readonly number[], total: number, chunkBytes: () => number): { bytes: number; rows: number }[] {
  const slicer = new Slicer()
  const slices: { bytes: number; rows: number }[] = []
  for (let from = 0; from < total; ) {
    const to = Math.min(total, from + chunkBytes())
    const piece = { bytes: Buffer.alloc(to - from), ends: Uint32Array.from(ends.filter((end) => end > from && end <= to), (end) => end - from) }
    for (const { entry, rows } of slicer.add(piece)) slices.push({ bytes: entry.contentBytes, rows })
    from = to
  }
  const last = slicer.end(TRAILER)
  return last === undefined ? slices : [...slices, { bytes: last.entry.contentBytes, rows: last.rows }]
}
