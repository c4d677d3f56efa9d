/** Names, order and cursors: part of the metadata store's conformance suite. */
import { deepEqual, equal, rejects } from 'node:assert/strict'
import { type RegisterTest, refused } from './metadata-fixture.ts'

/** Every name that a store might bend: composed and decomposed, case, escapes, controls, order of UTF-16 against bytes. */
const NAMES: readonly string[] = [
  ' ',
  ' leading',
  'trailing ',
  '...',
  '.hidden',
  'a',
  'A',
  'a b',
  'a!',
  'a-b',
  'a~b',
  'a~2Fb',
  'a%2Fb',
  'a\\b',
  'a"b',
  "a'b",
  'a\nb',
  'a\tb',
  '\u0001',
  '\u007f',
  'ab',
  'caf\u00e9',
  'cafe\u0301',
  'ß',
  'ss',
  '\u0130',
  '\u200b',
  '\u202eabc',
  '\u2028',
  'ﬁ',
  '日本語',
  '\uff5e',
  '\ufffd',
  '\uffff',
  '\u{1f600}',
  '\u{10ffff}',
  '0',
  '00',
  '10',
  '9',
  '__proto__',
  'constructor',
  'null',
  'x'.repeat(255),
  'é'.repeat(127),
  '日'.repeat(85),
  '\u{1f600}'.repeat(63),
]

const BAD_NAMES: readonly string[] = [
  '',
  '.',
  '..',
  '/',
  'a/b',
  '/a',
  'a\0',
  '\ud83d',
  'a\ude00b',
  'x'.repeat(256),
  'é'.repeat(128),
  '\u{1f600}'.repeat(64),
]

function inByteOrder(names: readonly string[]): string[] {
  return names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
}

export function nameTests(test: RegisterTest): void {
  test('create() keeps every name as it was given; readDirectory() lists them in byte order', async ({ store, root }) => {
    for (const name of NAMES) await store.create({ parent: root, name }, { type: 'fifo' })
    const { entries, cursor } = await store.readDirectory(root)
    deepEqual(entries.map((entry) => entry.name), inByteOrder(NAMES))
    equal(cursor, undefined)
    for (const { name, inode } of entries) equal((await store.lookup({ parent: root, name }))?.inode, inode)
  })

  test('readDirectory() gives the same entries in pages of any size', async ({ store, root }) => {
    for (const name of NAMES) await store.create({ parent: root, name }, { type: 'fifo' })
    for (const limit of [1, 7, NAMES.length - 1, NAMES.length, 10_000]) {
      const names: string[] = []
      let after: string | undefined
      do {
        const page = await store.readDirectory(root, { after, limit })
        equal(page.entries.length <= limit, true)
        names.push(...page.entries.map((entry) => entry.name))
        after = page.cursor
      } while (after !== undefined)
      deepEqual(names, inByteOrder(NAMES))
    }
  })

  test('every operation refuses a bad name with invalid_argument', async ({ store, root }) => {
    await store.create({ parent: root, name: 'a' }, { type: 'file' })
    const { inode } = await store.create({ parent: root, name: 'b' }, { type: 'file' })
    const good = { parent: root, name: 'a' }
    for (const name of BAD_NAMES) {
      const place = { parent: root, name }
      await refused(store.create(place, { type: 'file' }), 'invalid_argument')
      await refused(store.lookup(place), 'invalid_argument')
      await refused(store.link(place, inode), 'invalid_argument')
      await refused(store.unlink(place), 'invalid_argument')
      await refused(store.rename(place, good), 'invalid_argument')
      await refused(store.rename(good, place), 'invalid_argument')
      await refused(store.putUpload({ ...place, uploadId: 'u', startedAtMs: 0, blocks: [] }), 'invalid_argument')
    }
    equal((await store.readDirectory(root)).entries.length, 2)
  })

  test('every operation refuses a number that is none of an inode with invalid_argument', async ({ store, root }) => {
    for (const inode of [0, -1, 1.5, Number.NaN, Infinity, 2 ** 53]) {
      await refused(store.inode(inode), 'invalid_argument')
      await refused(store.create({ parent: inode, name: 'a' }, { type: 'file' }), 'invalid_argument')
      await refused(store.link({ parent: root, name: 'a' }, inode), 'invalid_argument')
      await refused(store.readDirectory(inode), 'invalid_argument')
      await refused(store.setAttributes(inode, {}), 'invalid_argument')
    }
    equal(await store.inode(Number.MAX_SAFE_INTEGER), undefined)
  })

  test('readDirectory() goes on from a cursor while entries come and go', async ({ store, root }) => {
    for (const name of ['b', 'd', 'f', 'h']) await store.create({ parent: root, name }, { type: 'file' })
    const first = await store.readDirectory(root, { limit: 2 })
    deepEqual([first.entries.map((entry) => entry.name), first.cursor], [['b', 'd'], 'd'])
    for (const name of ['d', 'f']) await store.unlink({ parent: root, name })
    for (const name of ['a', 'c', 'd~', 'g']) await store.create({ parent: root, name }, { type: 'directory' })
    const { entries, cursor } = await store.readDirectory(root, { after: first.cursor, limit: 3 })
    deepEqual(entries.map((entry) => `${entry.name} ${entry.type}`), ['d~ directory', 'g directory', 'h file'])
    equal(cursor, undefined)
    deepEqual(await store.readDirectory(root, { after: 'zzz' }), { entries: [], cursor: undefined })
  })

  test('readDirectory() holds one directory only, whatever its neighbours', async ({ store, root }) => {
    const [left, middle, right] = await Promise.all(
      ['left', 'middle', 'right'].map((name) => store.create({ parent: root, name }, { type: 'directory' })),
    )
    for (const directory of [left, right]) await store.create({ parent: directory?.inode ?? 0, name: 'x' }, { type: 'file' })
    deepEqual((await store.readDirectory(middle?.inode ?? 0)).entries, [])
  })

  test('readDirectory() refuses a limit out of bounds, a missing inode, and an inode that is not a directory', async ({ store, root }) => {
    const { inode } = await store.create({ parent: root, name: 'a' }, { type: 'file' })
    for (const limit of [0, -1, 1.5, 10_001, Number.NaN]) await rejects(store.readDirectory(root, { limit }), RangeError)
    await refused(store.readDirectory(inode), 'not_a_directory')
    await refused(store.readDirectory(inode + 1), 'entry_not_found')
  })
}
