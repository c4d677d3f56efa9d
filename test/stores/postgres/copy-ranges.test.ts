import { expect, test } from 'vitest'
import { copyRanges } from '../../../src/stores/postgres/snapshot/copy-ranges.ts'
import type { FoundTable } from '../../../src/stores/postgres/snapshot/definition.ts'

const LARGE: FoundTable = { name: 'large', oid: 1, format: 'binary', isHeap: true, columns: [{ name: 'id', type: 'bigint' }] }
const SIZES = [
  { table: LARGE, pages: 1025 },
  { table: { ...LARGE, name: 'small' }, pages: 512 },
  { table: { ...LARGE, name: 'other', isHeap: false }, pages: 1025 },
  { table: { ...LARGE, name: 'empty' }, pages: 0 },
  { table: { ...LARGE, name: 'bare', format: 'text' as const, columns: [] }, pages: 1 },
]

const texts = (readers: number): string[] => [...copyRanges(SIZES, { schema: 's', pageBytes: 8192, readers })].map(({ text }) => text)

test.each([0, 1])('copyRanges() copies every table that is not empty whole for %i readers', (readers) => {
  expect(texts(readers)).toEqual([
    'COPY "s"."large" ("id") TO STDOUT (FORMAT binary)',
    'COPY "s"."small" ("id") TO STDOUT (FORMAT binary)',
    'COPY "s"."other" ("id") TO STDOUT (FORMAT binary)',
    'COPY "s"."bare" TO STDOUT (FORMAT text)',
  ])
})

test('copyRanges() cuts large tables into ranges of pages for several readers, the last of them without an end', () => {
  expect(texts(2)).toEqual([
    `COPY (SELECT "id" FROM ONLY "s"."large" WHERE ctid < '(512,0)') TO STDOUT (FORMAT binary)`,
    `COPY (SELECT "id" FROM ONLY "s"."large" WHERE ctid >= '(512,0)' AND ctid < '(1024,0)') TO STDOUT (FORMAT binary)`,
    `COPY (SELECT "id" FROM ONLY "s"."large" WHERE ctid >= '(1024,0)') TO STDOUT (FORMAT binary)`,
    'COPY "s"."small" ("id") TO STDOUT (FORMAT binary)',
    'COPY "s"."other" ("id") TO STDOUT (FORMAT binary)',
    'COPY "s"."bare" TO STDOUT (FORMAT text)',
  ])
})
