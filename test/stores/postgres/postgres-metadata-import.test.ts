/** Views and imports between Postgres and other stores: beside the conformance suite, what is Postgres's own. */
import { MemoryLevel } from 'memory-level'
import { expect, onTestFinished, test } from 'vitest'
import { checkTree } from '../../../src/metadata/check-tree.ts'
import type { ListedInode, MetadataView } from '../../../src/contracts/metadata-store.ts'
import { LevelMetadataStore } from '../../../src/stores/level/store/level-metadata-store.ts'
import { lockKey } from '../../../src/stores/postgres/connection/advisory-locks.ts'
import { refused } from '../../conformance/backupable-fixture.ts'
import { dumpStore } from '../../support/dump-store.ts'
import { fillStore } from '../../support/fill-store.ts'
import { openStore } from './metadata-stores.ts'
import { describeSchema, sharedPool } from './schemas.ts'

async function memoryStore(): Promise<LevelMetadataStore> {
  const store = await LevelMetadataStore.open(new MemoryLevel(), { kind: 'memory' })
  onTestFinished(() => store.close())
  return store
}

test('a store goes from Memory to Postgres and back, and is the same; the tables are what they were', async () => {
  const [source, middle, target] = [await memoryStore(), await openStore(), await memoryStore()]
  const untouched = await openStore()
  await fillStore(source)
  await middle.importView(await source.view())
  await target.importView(await middle.view())
  expect(await dumpStore(middle)).toEqual(await dumpStore(source))
  expect(await dumpStore(target)).toEqual(await dumpStore(source))
  expect(await checkTree(middle)).toEqual([])
  const pool = await sharedPool()
  expect(await describeSchema(pool, middle.schema)).toEqual(await describeSchema(pool, untouched.schema))
})

/** The view with some of its inodes changed. */
function altered(view: MetadataView, change: (inode: ListedInode) => Partial<ListedInode>): MetadataView {
  const inodes = async function* (): AsyncGenerator<ListedInode> {
    for await (const inode of view.inodes()) yield { ...inode, ...change(inode) }
  }
  return new Proxy(view, {
    get(target, name) {
      const value: unknown = name === 'inodes' ? inodes : Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

for (const [what, change] of [
  ['links', ({ type, links }) => (type === 'file' ? { links: links + 1 } : {})],
  ['links of a directory', ({ type, links }) => (type === 'directory' ? { links: links + 1 } : {})],
  ['a type', ({ type }) => (type === 'socket' ? { type: 'fifo' } : {})],
  ['a number of blocks', ({ blockCount }) => (blockCount > 0 ? { blockCount: blockCount - 1 } : {})],
] as const satisfies readonly (readonly [string, (inode: ListedInode) => Partial<ListedInode>])[]) {
  test(`importView() of a view with wrong ${what} gives record_invalid and leaves the store empty`, async () => {
    const [source, target] = [await memoryStore(), await openStore()]
    await fillStore(source)
    const before = await dumpStore(target)
    await using view = await source.view()
    await refused(target.importView(altered(view, change)), 'record_invalid')
    expect(await dumpStore(target)).toEqual(before)
    await target.importView(view)
  })
}

test('importView() is refused with restore_in_progress while writers are held off', async () => {
  const [source, target] = [await memoryStore(), await openStore()]
  const client = await (await sharedPool()).connect()
  onTestFinished(() => client.release(true))
  await client.query('SELECT pg_advisory_lock($1, $2)', [...lockKey('writes', target.schema)])
  await using view = await source.view()
  await refused(target.importView(view), 'restore_in_progress')
})

test('close() of a store cuts off its views', async () => {
  const store = await openStore()
  await fillStore(store)
  const view = await store.view()
  await store.close()
  await refused(view.shares(), 'store_unavailable')
  await view.close()
})
