/** Attributes of inodes: part of the metadata store's conformance suite. */
import { deepEqual, equal } from 'node:assert/strict'
import type { InodeAttributes, NewInode } from '../../src/contracts/metadata-store.ts'
import { type RegisterTest, refused } from './metadata-fixture.ts'

const MIN_TIME_NS = -(2n ** 63n)
const MAX_TIME_NS = 2n ** 63n - 1n

const PLAIN: InodeAttributes = {
  mode: 0o644,
  uid: 1000,
  gid: 1000,
  size: 0,
  accessedAtNs: 1n,
  modifiedAtNs: 2n,
  changedAtNs: 3n,
  createdAtNs: 4n,
  xattrs: new Map(),
}

const EXTREMES: readonly Partial<InodeAttributes>[] = [
  { mode: 0, uid: 0, gid: 0, size: 0 },
  { mode: 0o7777, uid: 2 ** 32 - 1, gid: 2 ** 32 - 1, size: Number.MAX_SAFE_INTEGER },
  { accessedAtNs: 0n, modifiedAtNs: -1n, changedAtNs: -1_000_000_001n, createdAtNs: -86_400_000_000_000n },
  { accessedAtNs: MIN_TIME_NS, modifiedAtNs: MAX_TIME_NS, changedAtNs: 2n ** 53n + 1n, createdAtNs: -(2n ** 53n) - 1n },
  { modifiedAtNs: 1_700_000_000_123_456_789n },
]

const XATTRS: ReadonlyMap<string, Uint8Array> = new Map([
  ['user.empty', new Uint8Array()],
  ['user.all', Uint8Array.from({ length: 256 }, (_, byte) => byte)],
  ['10', bytes(1)],
  ['9', bytes(2)],
  ['__proto__', bytes(3)],
  ['user.ünïcode "😀" \u0001\u2028', bytes(0xff)],
  ['n'.repeat(255), bytes(4)],
])

const BAD_ATTRIBUTES: readonly Partial<InodeAttributes>[] = [
  { mode: 0o10000 },
  { mode: -1 },
  { mode: 1.5 },
  { uid: 2 ** 32 },
  { gid: -1 },
  { size: -1 },
  { size: 2 ** 53 },
  { size: Number.NaN },
  { accessedAtNs: MIN_TIME_NS - 1n },
  { modifiedAtNs: MAX_TIME_NS + 1n },
  { changedAtNs: 5 as unknown as bigint },
  { xattrs: new Map([['', bytes(1)]]) },
  { xattrs: new Map([['a\0', bytes(1)]]) },
  { xattrs: new Map([['n'.repeat(256), bytes(1)]]) },
  { xattrs: new Map([['\ud800', bytes(1)]]) },
  { xattrs: new Map([['a', new Uint8Array(65_537)]]) },
  { xattrs: new Map([1, 2, 3].map((name) => [`${name}`, new Uint8Array(65_536)])) },
  { xattrs: new Map([['a', 'text' as unknown as Uint8Array]]) },
]

export function attributeTests(test: RegisterTest): void {
  test('create() and setAttributes() keep every attribute exactly, to the ends of its range', async ({ store, root }) => {
    for (const [count, extreme] of EXTREMES.entries()) {
      const wanted = { ...PLAIN, ...extreme }
      const created = await store.create({ parent: root, name: `created-${count}` }, { type: 'file', ...wanted })
      const { inode } = await store.create({ parent: root, name: `changed-${count}` }, { type: 'file' })
      const changed = await store.setAttributes(inode, wanted)
      for (const found of [created, await store.inode(created.inode), changed, await store.inode(inode)]) {
        deepEqual(found, { ...found, ...wanted })
      }
    }
  })

  test('create() and setAttributes() keep extended attributes byte for byte', async ({ store, root }) => {
    const place = { parent: root, name: 'a' }
    const { inode } = await store.create(place, { type: 'directory', xattrs: XATTRS })
    deepEqual(sorted((await store.lookup(place))?.xattrs), sorted(XATTRS))
    const large = new Map([...Array(7).keys()].map((name) => [`user.${name}`, new Uint8Array(18_000).fill(name)]))
    await store.setAttributes(inode, { xattrs: large })
    deepEqual(sorted((await store.inode(inode))?.xattrs), sorted(large))
    await store.setAttributes(inode, { xattrs: new Map() })
    equal((await store.inode(inode))?.xattrs.size, 0)
  })

  test('create() gives what is not asked for a default', async ({ store, root }) => {
    const before = BigInt(Date.now() - 1000) * 1_000_000n
    const created = await store.create({ parent: root, name: 'a' }, { type: 'file' })
    deepEqual([created.uid, created.gid, created.size, created.xattrs.size, created.blockCount], [0, 0, 0, 0, 0])
    deepEqual([created.payloadId, created.symlinkTarget], [undefined, undefined])
    for (const timeNs of [created.accessedAtNs, created.modifiedAtNs, created.changedAtNs, created.createdAtNs]) equal(timeNs > before, true)
  })

  test('setAttributes() changes what is given, and what is undefined or missing stays', async ({ store, root }) => {
    const place = { parent: root, name: 'a' }
    const created = await store.create(place, { type: 'file', ...PLAIN, xattrs: XATTRS, size: 3, content: { payloadId: 'p' } })
    const changes = { uid: 5, changedAtNs: 9n, mode: undefined } as unknown as Partial<InodeAttributes>
    const changed = await store.setAttributes(created.inode, changes)
    deepEqual({ ...changed, xattrs: sorted(changed.xattrs) }, { ...created, uid: 5, changedAtNs: 9n, xattrs: sorted(XATTRS) })
    deepEqual(await store.lookup(place), changed)
  })

  test('setAttributes() sets the change time to now where it is not given', async ({ store, root }) => {
    const { inode } = await store.create({ parent: root, name: 'a' }, { type: 'file', ...PLAIN })
    const changed = await store.setAttributes(inode, { mode: 0o600 })
    deepEqual([changed.accessedAtNs, changed.modifiedAtNs, changed.createdAtNs, changed.changedAtNs > 10n ** 18n], [1n, 2n, 4n, true])
  })

  test('setAttributes() refuses no inode; bad attributes are refused with invalid_argument and nothing changes', async ({ store, root }) => {
    const created = await store.create({ parent: root, name: 'a' }, { type: 'file' })
    await refused(store.setAttributes(created.inode + 1, { mode: 0 }), 'entry_not_found')
    for (const attributes of BAD_ATTRIBUTES) {
      await refused(store.setAttributes(created.inode, attributes), 'invalid_argument')
      await refused(store.create({ parent: root, name: 'b' }, { type: 'file', ...attributes }), 'invalid_argument')
      await refused(store.createShare('bad', { root: attributes }), 'invalid_argument')
      await refused(store.completeUpload('bad', attributes), 'invalid_argument')
    }
    deepEqual(await store.inode(created.inode), created)
  })

  test('create() refuses fields that do not go with the type with invalid_argument', async ({ store, root }) => {
    const bad: readonly NewInode[] = [
      { type: 'symlink' },
      { type: 'symlink', symlinkTarget: '' },
      { type: 'symlink', symlinkTarget: 'x'.repeat(4097) },
      { type: 'symlink', symlinkTarget: 'a\0b' },
      { type: 'symlink', symlinkTarget: '\ud800' },
      { type: 'file', symlinkTarget: 'x' },
      { type: 'directory', content: { payloadId: 'p' } },
      { type: 'fifo', content: { blocks: [] } },
      { type: 'door' as 'file' },
    ]
    for (const inode of bad) await refused(store.create({ parent: root, name: 'a' }, inode), 'invalid_argument')
    const longest = 'é'.repeat(2048)
    equal((await store.create({ parent: root, name: 'a' }, { type: 'symlink', symlinkTarget: longest })).symlinkTarget, longest)
  })

  test('usedBytes() counts the size of every regular file once, through create, setAttributes and unlink', async ({ store, root }) => {
    const file = await store.create({ parent: root, name: 'a' }, { type: 'file', size: 10 })
    await store.create({ parent: root, name: 'b' }, { type: 'symlink', symlinkTarget: 'x', size: 1000 })
    await store.create({ parent: root, name: 'c' }, { type: 'directory', size: 4096 })
    await store.link({ parent: root, name: 'd' }, file.inode)
    equal(await store.usedBytes(), 10)
    await store.setAttributes(file.inode, { size: 2 ** 40 })
    equal(await store.usedBytes(), 2 ** 40)
    await store.unlink({ parent: root, name: 'a' })
    equal(await store.usedBytes(), 2 ** 40)
    await store.unlink({ parent: root, name: 'd' })
    equal(await store.usedBytes(), 0)
  })
}

function bytes(...values: readonly number[]): Uint8Array {
  return Uint8Array.from(values)
}

function sorted(xattrs: ReadonlyMap<string, Uint8Array> | undefined): [string, Uint8Array][] {
  return [...(xattrs ?? [])].map(([name, value]): [string, Uint8Array] => [name, Uint8Array.from(value)]).toSorted(([a], [b]) => (a < b ? -1 : 1))
}
