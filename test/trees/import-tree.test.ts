import { chmod, lstat, mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { MetadataStore } from '../../src/contracts/metadata-store.ts'
import { checkImport, importTree } from '../../src/trees/index.ts'
import { payloadIdOf } from '../../src/payload-stores/directory/index.ts'
import { removeShareTree } from '../../src/metadata/remove-tree.ts'
import { openMemoryStore } from '../../src/stores/memory/index.ts'
import { tempDir } from '../support/temp-dir.ts'
import { writeTree } from '../cli/holdfast.ts'

describe('importTree()', () => {
  it('removes what an import that was killed had created, and no other share', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`dir${at % 7}/file${at}`, `content ${at}`])))
    await using store = await openMemoryStore()
    await importTree({ directory: join(dir, 'tree'), store, share: 'whole' })
    const bytes = await store.usedBytes()
    for (const calls of [0, 1, 2, 3, 20]) {
      await expect(importTree({ directory: join(dir, 'tree'), store: killedAfter(store, calls), share: 'tree' })).rejects.toThrow('killed')
      await importTree({ directory: join(dir, 'tree'), store, share: 'tree' })
      expect((await store.shares()).map(({ name }) => name)).toEqual(['tree', 'whole'])
      expect(await store.usedBytes()).toBe(2 * bytes)
      expect(await store.settings()).toEqual(new Map())
      await removeShareTree(store, 'tree')
    }
    await expect(importTree({ directory: join(dir, 'tree'), store, share: 'whole' })).rejects.toMatchObject({ code: 'entry_exists' })
    expect((await store.shares()).map(({ name }) => name)).toEqual(['whole'])
    expect(await store.settings()).toEqual(new Map())
  })

  it('passes over what release 0.1.0 noted of an import before it checked the name of the share', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { a: 'x' })
    await using store = await openMemoryStore()
    await store.setSetting('holdfast.import.01HZZZZZZZZZZZZZZZZZZZZZZZ', 'a/b')
    await importTree({ directory: join(dir, 'tree'), store, share: 'tree' })
    expect((await store.shares()).map(({ name }) => name)).toEqual(['tree'])
    expect(await store.settings()).toEqual(new Map())
  })

  it('says so when what it had created cannot be removed', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { a: 'x', b: 'y' })
    await using store = await openMemoryStore()
    const failing = importTree({ directory: join(dir, 'tree'), store: killedAfter(store, 3), share: 'tree' })
    await expect(failing).rejects.toMatchObject({ message: expect.stringMatching(/killed.*could not be removed.*next import.*killed/s) as string })
  })

  it('fails on a name that is not UTF-8, and removes the share again', async () => {
    const dir = await tempDir()
    await mkdir(join(dir, 'tree/sub'), { recursive: true })
    await writeFile(join(dir, 'tree/good'), 'x')
    await writeFile(Buffer.concat([Buffer.from(join(dir, 'tree/sub/bad-')), Buffer.from([0xff, 0xfe])]), 'x')
    await using store = await openMemoryStore()
    await expect(importTree({ directory: join(dir, 'tree'), store, share: 'tree' })).rejects.toMatchObject({ code: 'invalid_argument', message: expect.stringContaining('is not UTF-8') as string })
    expect(await store.shares()).toEqual([])
    expect(await store.usedBytes()).toBe(0)
  })

  it('removes the share again when its signal aborts, and rejects with its reason', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`dir${at % 7}/file${at}`, `content ${at}`])))
    await using store = await openMemoryStore()
    const abort = new AbortController()
    const reason = new Error('enough')
    const importing = importTree({ directory: join(dir, 'tree'), store, share: 'tree', signal: abort.signal, onProgress: ({ files }) => files > 20 && abort.abort(reason) })
    await expect(importing).rejects.toBe(reason)
    expect(await store.shares()).toEqual([])
  })

  it('keeps nanoseconds, owners and modes', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { file: 'x' })
    await chmod(join(dir, 'tree/file'), 0o2640)
    await using store = await openMemoryStore()
    await importTree({ directory: join(dir, 'tree'), store, share: 'tree' })
    const { root } = (await store.share('tree')) ?? { root: 0 }
    const stats = await lstat(join(dir, 'tree/file'), { bigint: true })
    expect(await store.lookup({ parent: root, name: 'file' })).toMatchObject({
      mode: 0o2640,
      uid: Number(stats.uid),
      gid: Number(stats.gid),
      modifiedAtNs: stats.mtimeNs,
      changedAtNs: stats.ctimeNs,
      payloadId: payloadIdOf(Buffer.from('x')),
    })
  })
})

describe('checkImport()', () => {
  it('takes a directory that holds nothing the import writes to', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { a: 'x' })
    await checkImport(join(dir, 'tree'), { share: 'tree', writesTo: [join(dir, 'store'), join(dir, 'tree-of-payloads')] })
  })

  it.each([
    ['a tree that is missing', 'missing', [], 'entry_not_found', /no such directory/],
    ['a file', 'tree/a', [], 'not_a_directory', /is not a directory/],
    ['a path below a file', 'tree/a/b', [], 'entry_not_found', /no such directory/],
    ['a tree that holds the store, which is not made yet', 'tree', ['tree/made/later'], 'invalid_argument', /which the import writes to/],
    ['a tree that holds the payloads, by a link', 'tree', ['link/payloads'], 'invalid_argument', /which the import writes to/],
  ])('refuses %s', async (_, directory, writesTo, code, sentence) => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { a: 'x' })
    await symlink('tree', join(dir, 'link'))
    await expect(checkImport(join(dir, directory), { share: 'tree', writesTo: writesTo.map((path) => join(dir, path)) })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(sentence) as unknown,
    })
  })
})

/** The store as a process has it that is killed after some changes: every later call rejects. */
function killedAfter(store: MetadataStore, calls: number): MetadataStore {
  let left = calls
  return new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return async (...given: unknown[]): Promise<unknown> => {
        const isChange = ['createShare', 'create', 'setSetting', 'unlink', 'removeShare'].includes(String(name))
        if (isChange) left -= 1
        if (left < 0) throw new Error('killed')
        return await (value as (...given: unknown[]) => Promise<unknown>).apply(target, given)
      }
    },
  })
}
