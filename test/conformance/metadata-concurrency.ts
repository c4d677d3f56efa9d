/** Operations at the same time: part of the metadata store's conformance suite. After each test the tree is checked. */
import { deepEqual, equal } from 'node:assert/strict'
import type { InodeNumber, MetadataStore } from '../../src/contracts/metadata-store.ts'
import { type RegisterTest, all, lookWhile } from './metadata-fixture.ts'

export function concurrencyTests(test: RegisterTest): void {
  test('create() of one name by many at once makes exactly one', async ({ store, root }) => {
    const outcomes = await settled(range(40).map((at) => store.create({ parent: root, name: 'a' }, { type: 'file', size: 1, content: { payloadId: `p${at}` } })))
    deepEqual(outcomes, { done: 1, refused: { entry_exists: 39 } })
    equal((await all(store.payloadIds())).length, 1)
  })

  test('create() by many at once gives each its own inode number', async ({ store, root }) => {
    const created = await Promise.all(range(300).map((at) => store.create({ parent: root, name: `${at}` }, { type: 'file', size: at })))
    equal(new Set(created.map(({ inode }) => inode)).size, 300)
    equal((await store.readDirectory(root)).entries.length, 300)
    equal(await store.usedBytes(), (299 * 300) / 2)
  })

  test('unlink() of a directory and create() in it never leave an orphan', async ({ store, root }) => {
    for (const round of range(10)) {
      const name = `d${round}`
      const { inode } = await store.create({ parent: root, name }, { type: 'directory' })
      const calls = [() => store.create({ parent: inode, name: 'x' }, { type: 'file' }), () => store.unlink({ parent: root, name })]
      const { done } = await settled((round % 2 === 0 ? calls : calls.toReversed()).map((call) => call()))
      equal(done, 1)
    }
  })

  test('link() and unlink() at once keep the count of links', async ({ store, root }) => {
    const { inode } = await store.create({ parent: root, name: 'first' }, { type: 'file', size: 3, content: { payloadId: 'p' } })
    await Promise.all(range(30).map((at) => store.link({ parent: root, name: `l${at}` }, inode)))
    await Promise.all([...range(29).map((at) => store.unlink({ parent: root, name: `l${at}` })), store.unlink({ parent: root, name: 'first' })])
    equal((await store.inode(inode))?.links, 1)
    await store.unlink({ parent: root, name: 'l29' })
    deepEqual([await store.inode(inode), await all(store.payloadIds())], [undefined, []])
  })

  test('rename() of two directories into each other never makes a ring', async ({ store, root }) => {
    const [a, b] = await directories(store, root, ['a', 'b'])
    const outcomes = await settled([
      store.rename({ parent: root, name: 'a' }, { parent: b, name: 'a' }),
      store.rename({ parent: root, name: 'b' }, { parent: a, name: 'b' }),
    ])
    deepEqual(outcomes, { done: 1, refused: { invalid_argument: 1 } })
  })

  test('rename() of many over one name leaves one, and no bytes of the others', async ({ store, root }) => {
    for (const at of range(20)) await store.create({ parent: root, name: `${at}` }, { type: 'file', size: 1, content: { payloadId: `p${at}` } })
    await Promise.all(range(20).map((at) => store.rename({ parent: root, name: `${at}` }, { parent: root, name: 'one' })))
    deepEqual((await store.readDirectory(root)).entries.map(({ name }) => name), ['one'])
    deepEqual([await store.usedBytes(), (await all(store.payloadIds())).length], [1, 1])
  })

  test('completeUpload() by many at once makes exactly one file', async ({ store, root }) => {
    await store.putUpload({ uploadId: 'u', parent: root, name: 'file', startedAtMs: 0, blocks: [{ payloadId: 'p', offset: 0, bytes: 4 }] })
    deepEqual(await settled(range(10).map(() => store.completeUpload('u'))), { done: 1, refused: { entry_not_found: 9 } })
    equal(await store.usedBytes(), 4)
  })

  test('lock() by many at once gives an exclusive lock to one', async ({ store, root }) => {
    const { inode } = await store.create({ parent: root, name: 'a' }, { type: 'file' })
    const locks = range(20).map((at) => store.lock({ inode, owner: `o${at}`, kind: 'exclusive', start: at, end: 20 }))
    deepEqual(await settled(locks), { done: 1, refused: { lock_conflict: 19 } })
  })

  test('readers never see half of a mutation', async ({ store, root }) => {
    const [a, b] = await directories(store, root, ['a', 'b'])
    const { inode } = await store.create({ parent: a, name: 'x' }, { type: 'file' })
    const move = async (): Promise<void> => {
      for (const round of range(100)) {
        const [from, to] = round % 2 === 0 ? [a, b] : [b, a]
        await store.rename({ parent: from, name: 'x' }, { parent: to, name: 'x' })
        await store.setContent(inode, round % 2 === 0 ? { payloadId: 'p' } : { blocks: [{ payloadId: 'q', offset: 0, bytes: 1 }] }, { size: round })
      }
    }
    await lookWhile(move, async () => {
      const [found, payloadIds] = await Promise.all([store.inode(inode), all(store.payloadIds())])
      equal(found?.links, 1)
      equal(found.payloadId !== undefined && found.blockCount > 0, false)
      equal(payloadIds.length <= 1, true)
      for (const parent of [a, b]) equal([undefined, inode].includes((await store.lookup({ parent, name: 'x' }))?.inode), true)
    })
  })
}

interface Outcomes {
  readonly done: number
  /** How many were refused, by code. */
  readonly refused: Readonly<Record<string, number>>
}

async function settled(promises: readonly Promise<unknown>[]): Promise<Outcomes> {
  const refused: Record<string, number> = {}
  const outcomes = await Promise.allSettled(promises)
  for (const outcome of outcomes) {
    if (outcome.status === 'fulfilled') continue
    const { code } = outcome.reason as { readonly code: string }
    refused[code] = (refused[code] ?? 0) + 1
  }
  return { done: outcomes.filter((outcome) => outcome.status === 'fulfilled').length, refused }
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, at) => at)
}

async function directories(store: MetadataStore, parent: InodeNumber, names: readonly string[]): Promise<[InodeNumber, InodeNumber]> {
  const inodes: InodeNumber[] = []
  for (const name of names) inodes.push((await store.create({ parent, name }, { type: 'directory' })).inode)
  return inodes as [InodeNumber, InodeNumber]
}
