/** Imports: part of the metadata store's conformance suite. */
import { deepEqual, equal, rejects } from 'node:assert/strict'
import { checkTree } from '../../src/metadata/check-tree.ts'
import type { MetadataStore, MetadataView } from '../../src/contracts/metadata-store.ts'
import { all, listAll, populate, refused } from './metadata-fixture.ts'
import type { TestRunner } from './runner.ts'

type Factory = () => Promise<MetadataStore>

export function importTests(runner: TestRunner, factory: Factory): void {
  runner.test('importView() copies everything as it is, but for the store ID, and the copy is a store like any other', async () => {
    await using source = await factory()
    await using target = await factory()
    const { root } = await source.createShare('share')
    const { file, directory } = await populate(source, root)
    await source.unlink({ parent: root, name: 'gone' })
    const { storeId } = target
    await using view = await source.view()
    await source.setSetting('late', 'not in the view')
    const seen: number[] = []
    await target.importView(view, { onProgress: ({ records }) => seen.push(records) })
    deepEqual(await listAllOf(target), await listAll(view))
    deepEqual([target.storeId, await checkTree(target)], [storeId, []])
    equal(seen.length > 0 && seen.every((count, at) => count > 0 && count >= (seen[at - 1] ?? 0)), true)
    // The next inode of the source has been given out there, so its number is not the copy's to use.
    const [there, here] = [await source.create({ parent: root, name: 'x' }, { type: 'file' }), await target.create({ parent: root, name: 'x' }, { type: 'file' })]
    equal(here.inode >= (await view.nextInode()) && there.inode >= (await view.nextInode()), true)
    await refused(target.lock({ inode: file.inode, owner: 'other', kind: 'exclusive', start: 0, end: 1 }), 'lock_conflict')
    await target.rename({ parent: root, name: 'dir' }, { parent: root, name: 'moved' })
    await target.unlink({ parent: root, name: 'file' })
    equal((await target.lookup({ parent: directory.inode, name: 'hard link' }))?.links, 1)
    await target.completeUpload('upload')
    deepEqual(await checkTree(target), [])
  })

  runner.test('importView() of an empty store leaves an empty store', async () => {
    await using source = await factory()
    await using target = await factory()
    await using view = await source.view()
    await target.importView(view)
    deepEqual(await listAllOf(target), await listAll(view))
    equal((await target.createShare('share')).root > 0, true)
  })

  runner.test('importView() copies more than is written at once, and block lists of any length', async () => {
    await using source = await factory()
    await using target = await factory()
    const { root } = await source.createShare('share')
    for (const length of [999, 1000, 1001, 12_000]) {
      const blocks = Array.from({ length }, (_, at) => ({ payloadId: `${length}-${at % 5000}`, offset: at, bytes: 1 }))
      await source.create({ parent: root, name: `${length}` }, { type: 'file', content: { blocks } })
    }
    await Promise.all(Array.from({ length: 3000 }, (_, at) => source.create({ parent: root, name: `f${at}` }, { type: 'file', size: at, content: { payloadId: `p${at}` } })))
    await using view = await source.view()
    await target.importView(view)
    deepEqual(await listAllOf(target), await listAll(view))
    deepEqual(await checkTree(target), [])
  })

  runner.test('importView() refuses a populated store with restore_destination_not_empty, reads nothing and changes nothing', async () => {
    await using source = await factory()
    await using target = await factory()
    await source.createShare('share')
    await target.setSetting('only', 'this')
    const before = await listAllOf(target)
    await using view = await source.view()
    const untouched = new Proxy(view, { get: (_, name) => () => Promise.reject(new Error(`${String(name)} was read`)) })
    await refused(target.importView(untouched), 'restore_destination_not_empty')
    deepEqual(await listAllOf(target), before)
  })

  runner.test('importView() rejects with what reading, check() or the signal fails with, and leaves the store empty and fit for another', async () => {
    await using source = await factory()
    await using target = await factory()
    const { root } = await source.createShare('share')
    await populate(source, root)
    await using view = await source.view()
    const empty = await listAllOf(target)
    const failure = new Error('on purpose')
    for (const name of LISTS) {
      await rejects(target.importView(failingAfter(view, name, failure)), failure)
      deepEqual(await listAllOf(target), empty, name)
    }
    let checked: unknown
    const check = async (imported: MetadataView): Promise<void> => {
      checked = await listAll(imported)
      throw failure
    }
    await rejects(target.importView(view, { check }), failure)
    deepEqual(checked, await listAll(view))
    const controller = new AbortController()
    await rejects(target.importView(view, { signal: controller.signal, check: async () => controller.abort(failure) }), failure)
    await rejects(target.importView(view, { signal: controller.signal }), failure)
    deepEqual(await listAllOf(target), empty)
    await target.importView(view)
    deepEqual(await listAllOf(target), await listAll(view))
  })

  runner.test('importView() calls check() once with all that was imported, and closes its view', async () => {
    await using source = await factory()
    await using target = await factory()
    const { root } = await source.createShare('share')
    await populate(source, root)
    await using view = await source.view()
    const views: MetadataView[] = []
    const check = async (imported: MetadataView): Promise<void> => {
      views.push(imported)
      deepEqual(await listAll(imported), await listAll(view))
      deepEqual(await checkTree(imported), [])
    }
    await target.importView(view, { check })
    equal(views.length, 1)
    await rejects(async () => await views[0]?.shares())
  })
}

const LISTS = ['inodes', 'entries', 'allBlocks', 'allLocks', 'uploads'] as const

/** A view one of whose lists fails after its first item. */
function failingAfter(view: MetadataView, list: (typeof LISTS)[number], failure: Error): MetadataView {
  const failing = async function* (): AsyncGenerator<unknown, void, undefined> {
    for await (const item of view[list]()) {
      yield item
      throw failure
    }
  }
  return new Proxy(view, {
    get(target, name) {
      if (name === list) return failing
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

async function listAllOf(store: MetadataStore): Promise<unknown> {
  await using view = await store.view()
  const lists = await listAll(view)
  deepEqual([await all(store.payloadIds()), await store.usedBytes()], [lists.payloadIds, lists.usedBytes])
  return lists
}
