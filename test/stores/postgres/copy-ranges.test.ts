import { expect, test } from 'vitest'
import { copyRanges } from '../../../src/stores/postgres/snapshot/copy-ranges.ts'
import type { FoundTable } from '../../../src/stores/postgres/snapshot/definition.ts'

const LARGE: FoundTable = { name: 'large', oid: 1, format: 'binary', hasRanges: true, columns: [{ name: 'id', type: 'bigint' }] }
const SIZES = [
  { table: LARGE, pages: 1025 },
  { table: { ...LARGE, name: 'small' }, pages: 512 },
  { table: { ...LARGE, name: 'other', hasRanges: false }, pages: 1025 },
  { table: { ...LARGE, name: 'empty' }, pages: 0 },
  // Where its rows are is for its access method to know.
  { table: { ...LARGE, name: 'elsewhere', hasRanges: false }, pages: 0 },
  { table: { ...LARGE, name: 'bare', format: 'text' as const, columns: [] }, pages: 1 },
]

function texts(bytes: number): string[] {
  return [...copyRanges(SIZES, { schema: 's', pageBytes: 8192, bytes })].map(({ text }) => text)
}

test('copyRanges() gives every table that is not empty whole where there is no limit', () => {
  expect(texts(Infinity)).toEqual([
    'COPY "s"."large" ("id") TO STDOUT (FORMAT binary)',
    'COPY "s"."small" ("id") TO STDOUT (FORMAT binary)',
    'COPY "s"."other" ("id") TO STDOUT (FORMAT binary)',
    'COPY "s"."elsewhere" ("id") TO STDOUT (FORMAT binary)',
    'COPY "s"."bare" TO STDOUT (FORMAT text)',
  ])
})

/** The text of one range of the large table. */
function range(from: number, to?: number): string {
  const end = to === undefined ? '' : ` AND ctid < current_setting('holdfast.to')::tid`
  return `SELECT set_config('holdfast.from', '(${from},0)', true), set_config('holdfast.to', '(${to ?? from},0)', true); COPY (SELECT "id" FROM ONLY "s"."large" WHERE ctid >= current_setting('holdfast.from')::tid${end}) TO STDOUT (FORMAT binary); ROLLBACK TO SAVEPOINT holdfast`
}

test('copyRanges() cuts large tables into ranges of pages, the last of them without an end', () => {
  expect(texts(4 * 1024 * 1024)).toEqual([
    range(0, 512),
    range(512, 1024),
    range(1024),
    'COPY "s"."small" ("id") TO STDOUT (FORMAT binary)',
    'COPY "s"."other" ("id") TO STDOUT (FORMAT binary)',
    'COPY "s"."elsewhere" ("id") TO STDOUT (FORMAT binary)',
    'COPY "s"."bare" TO STDOUT (FORMAT text)',
  ])
  expect(texts(1).slice(0, 2)).toEqual([range(0, 1), range(1, 2)])
  expect(texts(8 * 8192 + 5000).slice(0, 2)).toEqual([range(0, 8), range(8, 16)])
})
