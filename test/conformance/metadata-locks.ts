/** Byte-range locks: part of the metadata store's conformance suite. */
import { deepEqual } from 'node:assert/strict'
import type { ByteRangeLock, InodeNumber, MetadataStore } from '../../src/contracts/metadata-store.ts'
import { type RegisterTest, refused } from './metadata-fixture.ts'

const MAX = Number.MAX_SAFE_INTEGER

interface LockFixture {
  readonly inode: InodeNumber
  lock(owner: string, kind: ByteRangeLock['kind'], start: number, end?: number): Promise<void>
  unlock(owner: string, start: number, end?: number): Promise<void>
  /** The locks, each as "owner kind start-end". */
  locks(): Promise<string[]>
}

async function file(store: MetadataStore, parent: InodeNumber, name: string): Promise<LockFixture> {
  const { inode } = await store.create({ parent, name }, { type: 'file' })
  return {
    inode,
    lock: (owner, kind, start, end) => store.lock({ inode, owner, kind, start, end }),
    unlock: (owner, start, end) => store.unlock({ inode, owner, start, end }),
    locks: async () => (await store.locks(inode)).map(({ owner, kind, start, end }) => `${owner} ${kind} ${start}-${end ?? ''}`),
  }
}

export function lockTests(test: RegisterTest): void {
  conflictTests(test)
  rangeTests(test)
}

function conflictTests(test: RegisterTest): void {
  test('lock() lets shared locks overlap, and refuses others with lock_conflict', async ({ store, root }) => {
    const a = await file(store, root, 'a')
    await a.lock('one', 'shared', 0, 10)
    await a.lock('two', 'shared', 5, 15)
    await refused(a.lock('three', 'exclusive', 9, 11), 'lock_conflict')
    await refused(a.lock('one', 'exclusive', 0, 10), 'lock_conflict')
    await a.lock('three', 'exclusive', 15, 20)
    await refused(a.lock('one', 'shared', 19), 'lock_conflict')
    await a.lock('one', 'shared', 20)
    deepEqual(await a.locks(), ['one shared 0-10', 'two shared 5-15', 'three exclusive 15-20', 'one shared 20-'])
  })

  test('lock() to the end reaches whatever is ever locked there', async ({ store, root }) => {
    const a = await file(store, root, 'a')
    await a.lock('one', 'exclusive', 100)
    await refused(a.lock('two', 'shared', MAX - 1, MAX), 'lock_conflict')
    await refused(a.lock('two', 'shared', 0), 'lock_conflict')
    await a.lock('two', 'shared', 0, 100)
    await refused(a.lock('one', 'exclusive', 99), 'lock_conflict')
    deepEqual(await a.locks(), ['two shared 0-100', 'one exclusive 100-'])
  })

  test('locks of one inode do not concern another; they die with the inode', async ({ store, root }) => {
    const [a, b] = [await file(store, root, 'a'), await file(store, root, 'b')]
    await a.lock('one', 'exclusive', 0)
    await b.lock('two', 'exclusive', 0)
    await store.link({ parent: root, name: 'c' }, a.inode)
    await store.unlink({ parent: root, name: 'a' })
    deepEqual(await a.locks(), ['one exclusive 0-'])
    await store.unlink({ parent: root, name: 'c' })
    deepEqual([await a.locks(), await b.locks()], [[], ['two exclusive 0-']])
  })

  test('lock() refuses a missing inode, an inode that is not a file, and bad ranges and owners', async ({ store, root }) => {
    const a = await file(store, root, 'a')
    const fifo = await store.create({ parent: root, name: 'b' }, { type: 'fifo' })
    const lock = { inode: a.inode, owner: 'one', kind: 'shared', start: 0, end: 1 } as const
    await refused(store.lock({ ...lock, inode: fifo.inode + 1 }), 'entry_not_found')
    await refused(store.lock({ ...lock, inode: root }), 'is_a_directory')
    await refused(store.lock({ ...lock, inode: fifo.inode }), 'invalid_argument')
    const bad = [{ start: -1 }, { start: 1 }, { start: 2 }, { start: 0.5 }, { end: 2 ** 53 }, { owner: '' }, { owner: 'a\0' }, { owner: '\ud800' }]
    for (const change of bad) {
      await refused(store.lock({ ...lock, ...change }), 'invalid_argument')
      await refused(store.unlock({ ...lock, ...change }), 'invalid_argument')
    }
    await refused(store.lock({ ...lock, owner: 'x'.repeat(1025) }), 'invalid_argument')
    await refused(store.lock({ ...lock, kind: 'both' as 'shared' }), 'invalid_argument')
    deepEqual(await a.locks(), [])
  })
}

function rangeTests(test: RegisterTest): void {
  test("lock() replaces the owner's own on the same bytes, up, down, and in the middle", async ({ store, root }) => {
    const a = await file(store, root, 'a')
    await a.lock('one', 'shared', 0, 100)
    await a.lock('one', 'exclusive', 40, 60)
    deepEqual(await a.locks(), ['one shared 0-40', 'one exclusive 40-60', 'one shared 60-100'])
    await a.lock('one', 'shared', 40, 60)
    deepEqual(await a.locks(), ['one shared 0-100'])
    await a.lock('one', 'exclusive', 0)
    deepEqual(await a.locks(), ['one exclusive 0-'])
  })

  test("lock() joins the owner's own of the same kind where they touch, and those of another owner stay apart", async ({ store, root }) => {
    const a = await file(store, root, 'a')
    await a.lock('one', 'shared', 0, 10)
    await a.lock('two', 'shared', 10, 20)
    await a.lock('one', 'shared', 20, 30)
    deepEqual(await a.locks(), ['one shared 0-10', 'two shared 10-20', 'one shared 20-30'])
    await a.lock('one', 'shared', 10, 20)
    deepEqual(await a.locks(), ['one shared 0-30', 'two shared 10-20'])
  })

  test('unlock() gives bytes back and leaves the parts outside', async ({ store, root }) => {
    const a = await file(store, root, 'a')
    await a.lock('one', 'exclusive', 0)
    await a.unlock('one', 10, 20)
    deepEqual(await a.locks(), ['one exclusive 0-10', 'one exclusive 20-'])
    await a.lock('two', 'shared', 10, 20)
    await a.unlock('one', 0, 30)
    deepEqual(await a.locks(), ['two shared 10-20', 'one exclusive 30-'])
    await a.unlock('one', 0)
    await a.unlock('two', 15)
    deepEqual(await a.locks(), ['two shared 10-15'])
  })

  test('unlock() of what is not held, or of an inode that has gone, does nothing', async ({ store, root }) => {
    const a = await file(store, root, 'a')
    await a.lock('one', 'shared', 0, 10)
    await a.unlock('two', 0)
    await a.unlock('one', 10, 20)
    deepEqual(await a.locks(), ['one shared 0-10'])
    await store.unlink({ parent: root, name: 'a' })
    await a.unlock('one', 0)
    deepEqual(await a.locks(), [])
  })

  test('locks() keeps owners of any text and ranges to the ends of their numbers', async ({ store, root }) => {
    const a = await file(store, root, 'a')
    const owners = ['nfs://host/1 ~é', 'x'.repeat(1024), '\u{1f600}', '-1']
    for (const owner of owners) await a.lock(owner, 'shared', MAX - 1, MAX)
    await a.lock('wide', 'shared', 0, MAX)
    deepEqual((await a.locks()).toSorted(), [...owners.map((owner) => `${owner} shared ${MAX - 1}-${MAX}`), `wide shared 0-${MAX}`].toSorted())
  })
}
