/** What every metadata store must do, for any test runner. */
import { deepEqual, equal, rejects } from 'node:assert/strict'
import { checkTree } from '../../src/metadata/check-tree.ts'
import type { MetadataStore } from '../../src/contracts/metadata-store.ts'
import { attributeTests } from './metadata-attributes.ts'
import { concurrencyTests } from './metadata-concurrency.ts'
import { contentTests } from './metadata-content.ts'
import { type RegisterTest, all, refused } from './metadata-fixture.ts'
import { importTests } from './metadata-import.ts'
import { lockTests } from './metadata-locks.ts'
import { nameTests } from './metadata-names.ts'
import { treeTests } from './metadata-tree.ts'
import { viewTests } from './metadata-view.ts'
import type { TestRunner } from './runner.ts'

export interface MetadataStoreConformanceOptions {
  readonly name: string
  readonly runner: TestRunner
  /** Gives a fresh, empty store of the test's own; called once per test, which closes it. */
  readonly factory: () => Promise<MetadataStore>
}

/** Registers the whole suite with the runner. */
export function testMetadataStore({ name, runner, factory }: MetadataStoreConformanceOptions): void {
  const register: RegisterTest = (title, body) => {
    runner.test(title, async () => {
      const store = await factory()
      try {
        const { root } = await store.createShare('share')
        await body({ store, root })
        deepEqual(await checkTree(store), [])
      } finally {
        await store.close()
      }
    })
  }
  runner.describe(`metadata store ${name}`, () => {
    for (const tests of [shareTests, treeTests, nameTests, attributeTests, contentTests, lockTests, concurrencyTests, viewTests]) tests(register)
    importTests(runner, factory)
    lifeTests({ name, runner, factory })
  })
}

function shareTests(test: RegisterTest): void {
  test('createShare() makes an empty root directory and keeps options and attributes', async ({ store }) => {
    const options = { description: 'Ünïcode "quoted"', quota: '9007199254740993', empty: '', 10: 'b', 9: 'a' }
    const share = await store.createShare('media', { options, root: { mode: 0o700, uid: 7 } })
    deepEqual(await store.share('media'), share)
    deepEqual({ ...share.options }, options)
    const root = await store.inode(share.root)
    deepEqual([root?.type, root?.links, root?.mode, root?.uid], ['directory', 2, 0o700, 7])
    deepEqual(await store.readDirectory(share.root), { entries: [], cursor: undefined })
  })

  test('createShare() refuses a taken name with entry_exists and leaves the share', async ({ store, root }) => {
    await refused(store.createShare('share', { options: { a: 'b' } }), 'entry_exists')
    const share = await store.share('share')
    deepEqual([share?.root, { ...share?.options }], [root, {}])
  })

  test('createShare() refuses a bad name or option with invalid_argument', async ({ store }) => {
    for (const name of ['', '.', '..', 'a/b', 'a\0', '\ud800', 'x'.repeat(256)]) await refused(store.createShare(name), 'invalid_argument')
    await refused(store.createShare('big', { options: { a: 'x'.repeat(70_000) } }), 'invalid_argument')
    await refused(store.createShare('half', { options: { a: '\udc00' } }), 'invalid_argument')
  })

  test('shares() lists by name; share() of none is undefined', async ({ store }) => {
    for (const name of ['zoo', 'Alpha', 'émile', 'alpha']) await store.createShare(name)
    deepEqual((await store.shares()).map((share) => share.name), ['Alpha', 'alpha', 'share', 'zoo', 'émile'])
    equal(await store.share('Zoo'), undefined)
  })

  test('removeShare() refuses none with entry_not_found and a root with entries with directory_not_empty', async ({ store, root }) => {
    await refused(store.removeShare('none'), 'entry_not_found')
    await store.create({ parent: root, name: 'a' }, { type: 'file' })
    await refused(store.removeShare('share'), 'directory_not_empty')
    await store.unlink({ parent: root, name: 'a' })
    await store.removeShare('share')
    equal(await store.share('share'), undefined)
    equal(await store.inode(root), undefined)
  })

  test('createShare() never uses the inode number of a removed share again', async ({ store, root }) => {
    await store.removeShare('share')
    const share = await store.createShare('share')
    equal(share.root > root, true)
  })

  test('settings: what was set is read, an empty text is a value, undefined removes', async ({ store }) => {
    equal(await store.setting('none'), undefined)
    const values = { 'nfs/port': '2049', leer: '', 'ключ ~ 10 %': '\u0001"\\\ufffd😀\u007f\u2028', ['__proto__']: 'x', big: 'x'.repeat(65_536) }
    for (const [name, value] of Object.entries(values)) await store.setSetting(name, value)
    await store.setSetting('leer', 'now')
    await store.setSetting('leer', '')
    deepEqual(new Map(await store.settings()), new Map(Object.entries(values)))
    for (const [name, value] of Object.entries(values)) equal(await store.setting(name), value)
    for (const name of Object.keys(values)) await store.setSetting(name, undefined)
    await store.setSetting('none', undefined)
    equal((await store.settings()).size, 0)
  })

  test('setSetting() refuses a bad name or value with invalid_argument', async ({ store }) => {
    for (const name of ['', 'a\0b', '\udfff', 'x'.repeat(256)]) await refused(store.setSetting(name, 'x'), 'invalid_argument')
    await refused(store.setSetting('a', 'x'.repeat(65_537)), 'invalid_argument')
    await refused(store.setSetting('a', '\ud83d'), 'invalid_argument')
  })
}

function lifeTests({ runner, factory }: MetadataStoreConformanceOptions): void {
  runner.test('a fresh store is empty and has an ID of its own', async () => {
    const [store, other] = [await factory(), await factory()]
    deepEqual([await store.shares(), await store.usedBytes(), await all(store.payloadIds()), await all(store.uploads())], [[], 0, [], []])
    equal(store.storeId.length > 0 && store.storeId !== other.storeId, true)
    await Promise.all([store.close(), other.close()])
  })

  runner.test('close() is idempotent, waits for mutations under way, and operations after it reject', async () => {
    const store = await factory()
    const created = store.createShare('late')
    await store.close()
    equal((await created).name, 'late')
    await store.close()
    await store[Symbol.asyncDispose]()
    await rejects(store.shares())
    await rejects(store.createShare('more'))
  })
}
