/** The tree: part of the metadata store's conformance suite. */
import { deepEqual, equal } from 'node:assert/strict'
import { INODE_TYPES, type InodeNumber, type MetadataStore } from '../../src/contracts/metadata-store.ts'
import { type RegisterTest, all, refused } from './metadata-fixture.ts'

export function treeTests(test: RegisterTest): void {
  createTests(test)
  linkTests(test)
  renameTests(test)
  exchangeTests(test)
  renameRefusals(test)
}

function createTests(test: RegisterTest): void {
  test('create() makes every type of inode; lookup() and inode() give what create() gave', async ({ store, root }) => {
    for (const type of INODE_TYPES) {
      const symlinkTarget = type === 'symlink' ? '../über/"there"\n' : undefined
      const created = await store.create({ parent: root, name: type }, { type, symlinkTarget })
      deepEqual([created.type, created.links, created.symlinkTarget], [type, type === 'directory' ? 2 : 1, symlinkTarget])
      deepEqual(await store.lookup({ parent: root, name: type }), created)
      deepEqual(await store.inode(created.inode), created)
    }
    const { entries } = await store.readDirectory(root)
    deepEqual(entries.map((entry) => entry.type), INODE_TYPES.toSorted())
    equal((await store.inode(root))?.links, 3)
  })

  test('lookup() and inode() of nothing are undefined', async ({ store, root }) => {
    const { inode } = await store.create({ parent: root, name: 'file' }, { type: 'file' })
    equal(await store.lookup({ parent: root, name: 'none' }), undefined)
    equal(await store.lookup({ parent: inode, name: 'file' }), undefined)
    equal(await store.lookup({ parent: inode + 100, name: 'file' }), undefined)
    equal(await store.inode(inode + 1), undefined)
  })

  test('create() refuses a taken name, a missing parent and a parent that is not a directory, and changes nothing', async ({ store, root }) => {
    const { inode } = await store.create({ parent: root, name: 'file' }, { type: 'file', size: 5, content: { payloadId: 'p' } })
    await refused(store.create({ parent: root, name: 'file' }, { type: 'directory' }), 'entry_exists')
    await refused(store.create({ parent: root, name: 'file' }, { type: 'file', size: 9, content: { payloadId: 'q' } }), 'entry_exists')
    await refused(store.create({ parent: inode + 1, name: 'a' }, { type: 'file' }), 'entry_not_found')
    await refused(store.create({ parent: inode, name: 'a' }, { type: 'file' }), 'not_a_directory')
    deepEqual([await store.usedBytes(), await all(store.payloadIds()), (await store.inode(root))?.links], [5, ['p'], 2])
  })

  test('create() never uses an inode number twice', async ({ store, root }) => {
    const seen = new Set([root])
    for (let count = 0; count < 5; count++) {
      const { inode } = await store.create({ parent: root, name: 'a' }, { type: count % 2 === 0 ? 'file' : 'directory' })
      equal(seen.has(inode), false)
      seen.add(inode)
      await store.unlink({ parent: root, name: 'a' })
    }
  })

  test('a directory has 2 links and one for each subdirectory', async ({ store, root }) => {
    const a = await directory(store, root, 'a')
    await directory(store, a, 'b')
    await directory(store, a, 'c')
    await store.create({ parent: a, name: 'd' }, { type: 'file' })
    equal((await store.inode(a))?.links, 4)
    await store.unlink({ parent: a, name: 'b' })
    await store.unlink({ parent: a, name: 'd' })
    equal((await store.inode(a))?.links, 3)
  })
}

function linkTests(test: RegisterTest): void {
  test('link() adds a name for an inode; it lives until its last name goes', async ({ store, root }) => {
    const a = await directory(store, root, 'a')
    const file = await store.create({ parent: root, name: 'one' }, { type: 'file', size: 7, content: { payloadId: 'p' } })
    const linked = await store.link({ parent: a, name: 'two' }, file.inode)
    deepEqual(linked, { ...file, links: 2 })
    equal(await store.usedBytes(), 7)
    await store.unlink({ parent: root, name: 'one' })
    deepEqual(await store.lookup({ parent: a, name: 'two' }), file)
    await store.unlink({ parent: a, name: 'two' })
    deepEqual([await store.inode(file.inode), await store.usedBytes(), await all(store.payloadIds())], [undefined, 0, []])
  })

  test('link() refuses directories, no inode, no parent and a taken name', async ({ store, root }) => {
    const a = await directory(store, root, 'a')
    const { inode } = await store.create({ parent: root, name: 'file' }, { type: 'file' })
    await refused(store.link({ parent: root, name: 'b' }, a), 'is_a_directory')
    await refused(store.link({ parent: root, name: 'b' }, inode + 1), 'entry_not_found')
    await refused(store.link({ parent: inode + 1, name: 'b' }, inode), 'entry_not_found')
    await refused(store.link({ parent: inode, name: 'b' }, inode), 'not_a_directory')
    await refused(store.link({ parent: root, name: 'a' }, inode), 'entry_exists')
    equal((await store.inode(inode))?.links, 1)
  })

  test('unlink() refuses a missing entry, a parent that is not a directory, and a directory with entries', async ({ store, root }) => {
    const a = await directory(store, root, 'a')
    const { inode } = await store.create({ parent: a, name: 'file' }, { type: 'file' })
    await refused(store.unlink({ parent: root, name: 'b' }), 'entry_not_found')
    await refused(store.unlink({ parent: inode + 1, name: 'b' }), 'entry_not_found')
    await refused(store.unlink({ parent: inode, name: 'b' }), 'not_a_directory')
    await refused(store.unlink({ parent: root, name: 'a' }), 'directory_not_empty')
    equal((await store.lookup({ parent: a, name: 'file' }))?.inode, inode)
  })
}

function renameTests(test: RegisterTest): void {
  test('rename() moves an entry within a directory and across, its inode untouched', async ({ store, root }) => {
    const [a, b] = [await directory(store, root, 'a'), await directory(store, root, 'b')]
    const file = await store.create({ parent: a, name: 'one' }, { type: 'file' })
    await store.rename({ parent: a, name: 'one' }, { parent: a, name: 'two' })
    await store.rename({ parent: a, name: 'two' }, { parent: b, name: 'three' })
    deepEqual(await store.lookup({ parent: b, name: 'three' }), file)
    deepEqual((await store.readDirectory(a)).entries, [])
  })

  test('rename() of a directory moves its subtree and its link', async ({ store, root }) => {
    const [a, b] = [await directory(store, root, 'a'), await directory(store, root, 'b')]
    const sub = await directory(store, a, 'sub')
    await directory(store, sub, 'deep')
    await store.rename({ parent: a, name: 'sub' }, { parent: b, name: 'sub' })
    deepEqual([await linksOf(store, a), await linksOf(store, b), await linksOf(store, sub)], [2, 3, 3])
    // What is an ancestor now is found by its new place.
    await refused(store.rename({ parent: root, name: 'b' }, { parent: sub, name: 'x' }), 'invalid_argument')
    await store.rename({ parent: root, name: 'a' }, { parent: sub, name: 'a' })
    deepEqual([await linksOf(store, root), await linksOf(store, sub)], [3, 4])
  })

  test('rename() replaces a file by a file and takes its inode and references with it', async ({ store, root }) => {
    const file = await store.create({ parent: root, name: 'new' }, { type: 'file', size: 1, content: { payloadId: 'new' } })
    const blocks = [{ payloadId: 'old', offset: 0, bytes: 9 }]
    const old = await store.create({ parent: root, name: 'old' }, { type: 'file', size: 9, content: { blocks } })
    await store.rename({ parent: root, name: 'new' }, { parent: root, name: 'old' })
    deepEqual((await store.readDirectory(root)).entries, [{ name: 'old', inode: file.inode, type: 'file' }])
    deepEqual([await store.inode(old.inode), await store.usedBytes(), await all(store.payloadIds())], [undefined, 1, ['new']])
  })

  test('rename() over one of several names leaves the inode to the others', async ({ store, root }) => {
    await store.create({ parent: root, name: 'new' }, { type: 'symlink', symlinkTarget: 't' })
    const old = await store.create({ parent: root, name: 'old' }, { type: 'file' })
    await store.link({ parent: root, name: 'kept' }, old.inode)
    await store.rename({ parent: root, name: 'new' }, { parent: root, name: 'old' })
    equal((await store.lookup({ parent: root, name: 'kept' }))?.links, 1)
    equal((await store.lookup({ parent: root, name: 'old' }))?.type, 'symlink')
  })

  test('rename() replaces an empty directory by a directory', async ({ store, root }) => {
    const [a, b] = [await directory(store, root, 'a'), await directory(store, root, 'b')]
    const sub = await directory(store, a, 'sub')
    await store.rename({ parent: a, name: 'sub' }, { parent: root, name: 'b' })
    equal(await store.inode(b), undefined)
    deepEqual([await linksOf(store, root), await linksOf(store, a)], [4, 2])
    await store.rename({ parent: root, name: 'a' }, { parent: root, name: 'b' })
    deepEqual([await store.inode(sub), await linksOf(store, root)], [undefined, 3])
  })

  test('rename() to the same place, or between two names of one inode, changes nothing', async ({ store, root }) => {
    const { inode } = await store.create({ parent: root, name: 'one' }, { type: 'file' })
    await store.link({ parent: root, name: 'two' }, inode)
    await store.rename({ parent: root, name: 'one' }, { parent: root, name: 'one' })
    await store.rename({ parent: root, name: 'one' }, { parent: root, name: 'two' })
    deepEqual((await store.readDirectory(root)).entries.map((entry) => entry.name), ['one', 'two'])
    equal((await store.inode(inode))?.links, 2)
    await directory(store, root, 'a')
    await store.rename({ parent: root, name: 'a' }, { parent: root, name: 'a' })
  })
}

function exchangeTests(test: RegisterTest): void {
  test('rename() exchanges two entries of whatever sort, across shares too, with all that is in them', async ({ store, root }) => {
    const { root: other } = await store.createShare('other')
    const a = await directory(store, root, 'a')
    await directory(store, a, 'sub')
    const file = await store.create({ parent: other, name: 'file' }, { type: 'file', size: 3, content: { payloadId: 'p' } })
    await store.link({ parent: root, name: 'second name' }, file.inode)
    await store.rename({ parent: root, name: 'a' }, { parent: other, name: 'file' }, { existing: 'exchange' })
    deepEqual((await store.readDirectory(other)).entries, [{ name: 'file', inode: a, type: 'directory' }])
    deepEqual(await store.lookup({ parent: root, name: 'a' }), { ...file, links: 2 })
    deepEqual([await linksOf(store, root), await linksOf(store, other), await linksOf(store, a)], [2, 3, 3])
    const b = await directory(store, root, 'b')
    await store.rename({ parent: root, name: 'b' }, { parent: other, name: 'file' }, { existing: 'exchange' })
    deepEqual([(await store.lookup({ parent: root, name: 'b' }))?.inode, (await store.lookup({ parent: other, name: 'file' }))?.inode], [a, b])
    deepEqual([await linksOf(store, root), await linksOf(store, other), await store.usedBytes()], [3, 3, 3])
    // What is above a directory is known by its new place.
    await refused(store.rename({ parent: root, name: 'b' }, { parent: a, name: 'x' }), 'invalid_argument')
    await store.rename({ parent: other, name: 'file' }, { parent: a, name: 'moved' })
    equal(await linksOf(store, a), 4)
  })

  test('rename() exchanges nothing with itself, with no entry, or with what is above or below it', async ({ store, root }) => {
    const a = await directory(store, root, 'a')
    const b = await directory(store, a, 'b')
    const { inode } = await store.create({ parent: b, name: 'file' }, { type: 'file' })
    const exchange = { existing: 'exchange' } as const
    await store.rename({ parent: root, name: 'a' }, { parent: root, name: 'a' }, exchange)
    await refused(store.rename({ parent: root, name: 'a' }, { parent: root, name: 'none' }, exchange), 'entry_not_found')
    await refused(store.rename({ parent: root, name: 'none' }, { parent: root, name: 'a' }, exchange), 'entry_not_found')
    await refused(store.rename({ parent: root, name: 'a' }, { parent: a, name: 'b' }, exchange), 'invalid_argument')
    await refused(store.rename({ parent: a, name: 'b' }, { parent: root, name: 'a' }, exchange), 'invalid_argument')
    await refused(store.rename({ parent: b, name: 'file' }, { parent: root, name: 'a' }, exchange), 'invalid_argument')
    deepEqual([(await store.lookup({ parent: b, name: 'file' }))?.inode, await linksOf(store, root), await linksOf(store, a)], [inode, 3, 3])
  })

  test('rename() that refuses what is there replaces nothing', async ({ store, root }) => {
    const [a, b] = [await directory(store, root, 'a'), await directory(store, root, 'b')]
    await store.create({ parent: root, name: 'file' }, { type: 'file' })
    const refuse = { existing: 'refuse' } as const
    await refused(store.rename({ parent: root, name: 'a' }, { parent: root, name: 'b' }, refuse), 'entry_exists')
    await refused(store.rename({ parent: root, name: 'file' }, { parent: root, name: 'b' }, refuse), 'entry_exists')
    await refused(store.rename({ parent: root, name: 'a' }, { parent: root, name: 'a' }, refuse), 'entry_exists')
    await store.rename({ parent: root, name: 'a' }, { parent: b, name: 'a' }, refuse)
    equal((await store.lookup({ parent: b, name: 'a' }))?.inode, a)
    await refused(store.rename({ parent: b, name: 'a' }, { parent: root, name: 'a' }, { existing: 'other' as 'refuse' }), 'invalid_argument')
  })
}

function renameRefusals(test: RegisterTest): void {
  test('rename() never makes a directory its own descendant', async ({ store, root }) => {
    const a = await directory(store, root, 'a')
    const b = await directory(store, a, 'b')
    const c = await directory(store, b, 'c')
    for (const parent of [a, b, c]) await refused(store.rename({ parent: root, name: 'a' }, { parent, name: 'x' }), 'invalid_argument')
    await refused(store.rename({ parent: a, name: 'b' }, { parent: c, name: 'b' }), 'invalid_argument')
    // An ancestor cannot be replaced by what is in it.
    await refused(store.rename({ parent: b, name: 'c' }, { parent: root, name: 'a' }), 'directory_not_empty')
    // A file may go anywhere.
    await store.create({ parent: a, name: 'file' }, { type: 'file' })
    await store.rename({ parent: a, name: 'file' }, { parent: c, name: 'file' })
  })

  test('rename() refuses no entry, no target directory, and a target of the other sort', async ({ store, root }) => {
    const [a, b] = [await directory(store, root, 'a'), await directory(store, root, 'b')]
    const { inode } = await store.create({ parent: b, name: 'file' }, { type: 'file' })
    const file = { parent: b, name: 'file' }
    await refused(store.rename({ parent: root, name: 'none' }, { parent: a, name: 'x' }), 'entry_not_found')
    await refused(store.rename({ parent: root, name: 'none' }, { parent: root, name: 'none' }), 'entry_not_found')
    await refused(store.rename({ parent: inode, name: 'x' }, { parent: a, name: 'x' }), 'not_a_directory')
    await refused(store.rename(file, { parent: inode + 1, name: 'x' }), 'entry_not_found')
    await refused(store.rename(file, { parent: inode, name: 'x' }), 'not_a_directory')
    await refused(store.rename(file, { parent: root, name: 'a' }), 'is_a_directory')
    await refused(store.rename({ parent: root, name: 'a' }, file), 'not_a_directory')
    await refused(store.rename({ parent: root, name: 'a' }, { parent: root, name: 'b' }), 'directory_not_empty')
    deepEqual((await store.readDirectory(root)).entries.map((entry) => entry.name), ['a', 'b'])
  })
}

async function directory(store: MetadataStore, parent: InodeNumber, name: string): Promise<InodeNumber> {
  return (await store.create({ parent, name }, { type: 'directory' })).inode
}

async function linksOf(store: MetadataStore, inode: InodeNumber): Promise<number | undefined> {
  return (await store.inode(inode))?.links
}
