import { MemoryLevel } from 'memory-level'
import { expect, test } from 'vitest'
import { checkTree } from '../../src/metadata/check-tree.ts'
import { LevelMetadataStore } from '../../src/stores/level/store/level-metadata-store.ts'
import { fillStore } from '../support/fill-store.ts'

/** Damage to a record, and what is said of it. */
const DAMAGE: readonly (readonly [prefix: string, change: (value: string) => string | undefined, said: RegExp])[] = [
  ['counters/used-bytes', (value) => `${BigInt(value) - 7n}`, /^used bytes: recorded as/],
  ['references/a/b', () => undefined, /^payload ID a\/b"\\~: referred to, but not listed$/],
  ['inodes/0000000000000001', (value) => value.replace('"links":4', '"links":3'), /^inode 1: link count is 3, should be 4$/],
  ['blocks/', () => undefined, /^inode \d+: block count is 2500, should be 1500$/],
]

test('checkTree() finds nothing to say of a store that fits together', async () => {
  await using store = await LevelMetadataStore.open(new MemoryLevel(), { kind: 'memory' })
  expect(await checkTree(store)).toEqual([])
  await fillStore(store)
  expect(await checkTree(store)).toEqual([])
})

test('checkTree() says what does not hold', async () => {
  for (const [prefix, change, said] of DAMAGE) {
    const db = new MemoryLevel()
    await using store = await LevelMetadataStore.open(db, { kind: 'memory' })
    await fillStore(store)
    const [[key, value] = ['', '']] = await db.iterator({ gte: prefix, limit: 1 }).all()
    const changed = change(value)
    expect(changed).not.toBe(value)
    if (changed === undefined) await db.del(key)
    else await db.put(key, changed)
    expect(await checkTree(store)).toContainEqual(expect.stringMatching(said))
  }
})

test('checkTree() says which entry has no inode, is of another type, or is a directory in two places', async () => {
  const db = new MemoryLevel()
  await using store = await LevelMetadataStore.open(db, { kind: 'memory' })
  const { root } = await store.createShare('s')
  const { inode } = await store.create({ parent: root, name: 'a' }, { type: 'directory' })
  const entries = `entries/${String(root).padStart(16, '0')}`
  await db.put(`${entries}/b`, `{"inode":${inode},"type":"directory"}`)
  await db.put(`${entries}/c`, `{"inode":99,"type":"file"}`)
  await db.put(`${entries}/d`, `{"inode":${inode},"type":"file"}`)
  const problems = await checkTree(store)
  expect(problems).toContain(`inode ${inode}: the directory is in more than one place`)
  expect(problems).toContain('inode 99: is missing, but an entry names it as a file')
  expect(problems).toContain(`inode ${inode}: is a directory, but an entry says that it is a file`)
})
