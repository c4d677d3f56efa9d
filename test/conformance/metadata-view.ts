/** Views: part of the metadata store's conformance suite. After each test the tree is checked. */
import { deepEqual, equal, rejects } from 'node:assert/strict'
import { checkTree } from '../../src/metadata/check-tree.ts'
import type { Inode, InodeNumber, MetadataStore } from '../../src/contracts/metadata-store.ts'
import { type RegisterTest, all, listAll, lookWhile, populate, refused } from './metadata-fixture.ts'

export function viewTests(test: RegisterTest): void {
  test('view() shows the store as it was, whatever is changed or removed since', async ({ store, root }) => {
    const { file, blocks, directory } = await populate(store, root)
    await using view = await store.view()
    const before = await answersOf(view, root, file)
    await store.setAttributes(file.inode, { mode: 0o600, size: 1, xattrs: new Map() })
    await store.setContent(blocks.inode, { payloadId: 'other' }, { size: 2 })
    await store.rename({ parent: root, name: 'dir' }, { parent: root, name: 'moved' })
    await store.unlink({ parent: directory.inode, name: 'hard link' })
    await store.completeUpload('upload')
    await store.unlock({ inode: file.inode, owner: 'client/1', start: 0, end: undefined })
    await store.setSetting('name', 'changed')
    await store.setSetting('new', 'x')
    await store.createShare('late')
    deepEqual(await answersOf(view, root, file), before)
    deepEqual(await checkTree(view), [])
    equal(await view.share('late'), undefined)
    equal((await view.lookup({ parent: root, name: 'dir' }))?.inode, directory.inode)
    equal(await view.lookup({ parent: root, name: 'moved' }), undefined)
  })

  test('view() is one instant while writers go on, and none of them waits for it', async ({ store, root }) => {
    const { inode: to } = await store.create({ parent: root, name: 'to' }, { type: 'directory' })
    await Promise.all(range(40).map((at) => store.create({ parent: root, name: `f${at}` }, { type: 'file', size: 1, content: { payloadId: `p${at}` } })))
    const write = async (): Promise<void> => {
      for (const round of range(120)) {
        const [from, into] = round % 80 < 40 ? [root, to] : [to, root]
        await store.rename({ parent: from, name: `f${round % 40}` }, { parent: into, name: `f${round % 40}` })
        await store.create({ parent: to, name: `new${round}` }, { type: 'file', size: 1, content: { payloadId: `q${round}` } })
      }
    }
    const counts: number[] = []
    await lookWhile(write, async () => {
      await using view = await store.view()
      deepEqual(await checkTree(view), [])
      const first = await listAll(view)
      deepEqual(await listAll(view), first)
      equal(first.entries.filter(({ name }) => name.startsWith('f')).length, 40)
      equal(first.usedBytes, first.payloadIds.length)
      counts.push(first.usedBytes)
    })
    equal((await store.usedBytes()) >= Math.max(...counts), true)
  })

  test('view() lists every inode, entry, block and lock in order, and the next inode number', async ({ store, root }) => {
    const { file, blocks, directory } = await populate(store, root)
    await store.unlink({ parent: root, name: 'gone' })
    await using view = await store.view()
    const lists = await listAll(view)
    const numbers = lists.inodes.map(({ inode }) => inode)
    deepEqual(numbers, numbers.toSorted((a, b) => a - b))
    for (const { parent, ...inode } of lists.inodes) {
      deepEqual(inode, await store.inode(inode.inode))
      equal(parent, inode.type !== 'directory' ? undefined : inode.inode === directory.inode ? root : inode.inode)
    }
    deepEqual(
      lists.entries.map(({ parent, name, inode, type }) => [parent, name, inode, type]),
      [
        ...(await store.readDirectory(root)).entries.map(({ name, inode, type }) => [root, name, inode, type]),
        ...(await store.readDirectory(directory.inode)).entries.map(({ name, inode, type }) => [directory.inode, name, inode, type]),
      ],
    )
    deepEqual(lists.blocks.map(({ inode, ...block }) => ({ inode, ...block })), (await all(store.blocks(blocks.inode))).map((block) => ({ inode: blocks.inode, ...block })))
    deepEqual(lists.locks, await store.locks(file.inode))
    const created = await store.create({ parent: root, name: 'next' }, { type: 'file' })
    equal(lists.nextInode <= created.inode && lists.nextInode > Math.max(...numbers), true)
  })

  test('views of one store are each of their own instant', async ({ store }) => {
    await using first = await store.view()
    await store.setSetting('a', '1')
    await using second = await store.view()
    await store.setSetting('a', '2')
    deepEqual([await first.setting('a'), await second.setting('a'), await store.setting('a')], [undefined, '1', '2'])
  })

  test('a view refuses what a store refuses, with the same codes', async ({ store, root }) => {
    const { inode } = await store.create({ parent: root, name: 'a' }, { type: 'file' })
    await using view = await store.view()
    await refused(view.readDirectory(inode), 'not_a_directory')
    await refused(view.readDirectory(inode + 1), 'entry_not_found')
    await refused(all(view.blocks(root)), 'is_a_directory')
    await refused(view.share('a/b'), 'invalid_argument')
  })

  test('close() of a view is idempotent, ends that view only, and an iteration that was left does not hold it up', async ({ store, root }) => {
    await populate(store, root)
    const [view, other] = [await store.view(), await store.view()]
    for await (const _ of view.inodes()) break
    for await (const _ of view.blocks((await view.lookup({ parent: root, name: 'blocks' }))?.inode ?? 0)) break
    await view.close()
    await Promise.all([view.close(), view[Symbol.asyncDispose]()])
    await rejects(view.shares())
    await rejects(all(view.inodes()))
    equal((await other.shares()).length, 1)
    await other.close()
    equal((await store.shares()).length, 1)
  })
}

/** What the questions of a view are answered with, and its lists. */
async function answersOf(reader: Awaited<ReturnType<MetadataStore['view']>>, root: InodeNumber, file: Inode): Promise<unknown> {
  return [
    await listAll(reader),
    await reader.inode(file.inode),
    await reader.locks(file.inode),
    await reader.readDirectory(root, { limit: 2 }),
    await reader.share('share'),
    await reader.setting('name'),
    await reader.lookup({ parent: root, name: 'dir' }),
  ]
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, at) => at)
}
