import { execFileSync } from 'node:child_process'
import { chmod, link, lstat, lutimes, mkdir, readdir, readFile, readlink, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Inode, MetadataStore } from '../../src/contracts/metadata-store.ts'
import { compareTrees } from '../../src/trees/compare-trees.ts'
import { exportTree } from '../../src/trees/export-tree.ts'
import { importTree } from '../../src/trees/import-tree.ts'
import { PayloadDirectory, payloadIdOf } from '../../src/payload-stores/directory/payload-directory.ts'
import { removeShareTree } from '../../src/metadata/remove-tree.ts'
import { openMemoryStore } from '../../src/stores/memory/index.ts'
import { tempDir } from '../support/temp-dir.ts'
import { holdfast, holdfastJson, writeTree } from './holdfast.ts'

/** A tree with everything that is easy to get wrong. */
async function makeTree(root: string): Promise<void> {
  const big = Buffer.alloc(9 * 1024 * 1024 + 17)
  for (let at = 0; at < big.length; at += 4093) big.writeUInt32LE(at, Math.min(at, big.length - 4))
  await writeTree(root, { 'a.txt': 'hello', 'twin.txt': 'hello', empty: '', 'dir/sub/deep.bin': big, 'dir/ünï — 世界 👋.txt': 'unicode', '-rf': 'dash' })
  await writeFile(join(root, 'line\nbreak'), 'odd name')
  await mkdir(join(root, 'empty-dir'))
  await link(join(root, 'a.txt'), join(root, 'dir/hard'))
  await link(join(root, 'a.txt'), join(root, 'dir/sub/harder'))
  await symlink('../a.txt', join(root, 'dir/soft'))
  await symlink('/nowhere/at/all', join(root, 'dangling'))
  await link(join(root, 'dangling'), join(root, 'dangling-too'))
  await chmod(join(root, 'twin.txt'), 0o4711)
  await chmod(join(root, 'empty-dir'), 0o1777)
  await utimes(join(root, 'a.txt'), 1_000_000_000.123456, 1_600_000_000.654321)
  await lutimes(join(root, 'dangling'), 5, 1_234_567_890.5)
  await chmod(join(root, 'dir/sub'), 0o750)
  await utimes(join(root, 'dir'), 1, 2)
}

describe('holdfast import and export', () => {
  it('write back an equal tree, byte for byte, with modes, times, symbolic and hard links', async () => {
    const dir = await tempDir()
    await makeTree(join(dir, 'tree'))
    const imported = await holdfastJson(['import', 'tree', '--store', 'level:store', '--payloads', 'payloads'], { cwd: dir })
    expect(imported).toMatchObject({ share: 'tree', files: 7, directories: 4, symlinks: 2, hardLinks: 3, others: 0, newPayloads: 7 })
    const exported = await holdfastJson(['export', 'again', '--store', 'level:store', '--payloads', 'payloads'], { cwd: dir })
    expect(exported).toMatchObject({ share: 'tree', files: 7, directories: 4, symlinks: 2, hardLinks: 3, notMade: [] })
    expect((await compareTrees(join(dir, 'tree'), join(dir, 'again'))).differences).toEqual([])
    expect((await lstat(join(dir, 'again/a.txt'))).ino).toBe((await lstat(join(dir, 'again/dir/sub/harder'))).ino)
  })

  it('store equal content once, in private files named by their digest', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { one: 'same', two: 'same' })
    await holdfastJson(['import', 'tree', '--store', 'level:store', '--payloads', 'payloads'], { cwd: dir })
    const id = payloadIdOf(Buffer.from('same'))
    const found = await readdir(join(dir, 'payloads'), { recursive: true })
    expect(found.filter((name) => !name.startsWith('stores'))).toEqual([id.slice(0, 2), join(id.slice(0, 2), id.slice(2))])
    expect((await lstat(join(dir, 'payloads', id.slice(0, 2), id.slice(2)))).mode & 0o777).toBe(0o600)
    expect((await lstat(join(dir, 'payloads', id.slice(0, 2)))).mode & 0o777).toBe(0o700)
  })

  it('record a fifo by its type, and say that it was not made', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { file: 'x' })
    execFileSync('mkfifo', [join(dir, 'tree/pipe')])
    expect(await holdfastJson(['import', 'tree', '--store', 'level:store', '--payloads', 'payloads'], { cwd: dir })).toMatchObject({ files: 1, others: 1 })
    const { code, stdout, stderr } = await holdfast(['export', 'again', '--store', 'level:store', '--payloads', 'payloads'], { cwd: dir })
    expect({ code, stderr }).toEqual({ code: 0, stderr: 'warning: 1 socket, fifo or device was not made: again/pipe\n' })
    expect(stdout).toMatch(/^Exported share "tree" to again: 1 file \(1 B\), 1 directory, 0 symbolic links, 0 hard links in /)
  })

  it('refuse a target that is not empty, with exit code 4, and leave it alone', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { file: 'x' })
    await holdfastJson(['import', 'tree', '--store', 'level:store', '--payloads', 'payloads'], { cwd: dir })
    const { code, stderr } = await holdfast(['export', 'tree', '--store', 'level:store', '--payloads', 'payloads'], { cwd: dir })
    expect(code).toBe(4)
    expect(stderr).toMatch(/^error: restore_destination_not_empty: Cannot export to "tree": it is not an empty directory\nhint: .+\n$/)
    expect(await readdir(join(dir, 'tree'))).toEqual(['file'])
  })

  it('end with exit code 3 at a payload that is damaged, and at one that is missing', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { file: 'content' })
    await holdfastJson(['import', 'tree', '--store', 'level:store', '--payloads', 'payloads'], { cwd: dir })
    const id = payloadIdOf(Buffer.from('content'))
    const path = join(dir, 'payloads', id.slice(0, 2), id.slice(2))
    await writeFile(path, 'cOntent')
    const damaged = await holdfast(['export', 'a', '--store', 'level:store', '--payloads', 'payloads'], { cwd: dir })
    expect(damaged).toMatchObject({ code: 3, stderr: expect.stringContaining(`error: checksum_mismatch: Cannot use payload "${id}"`) as string })
    execFileSync('rm', [path])
    const missing = await holdfast(['export', 'b', '--store', 'level:store', '--payloads', 'payloads'], { cwd: dir })
    expect(missing).toMatchObject({ code: 3, stderr: expect.stringContaining(`error: backup_incomplete: Cannot read payload "${id}"`) as string })
  })

  it('refuse a second share of the same name with exit code 4', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { file: 'x' })
    await holdfastJson(['import', 'tree', '--store', 'level:store'], { cwd: dir })
    expect(await holdfast(['import', 'tree', '--store', 'level:store'], { cwd: dir })).toMatchObject({ code: 4, stderr: expect.stringMatching(/^error: entry_exists: /) as string })
    expect(await holdfastJson(['import', 'tree', '--store', 'level:store', '--share', 'other'], { cwd: dir })).toMatchObject({ share: 'other', files: 1 })
  })

  it('refuse a tree that holds the store itself, a missing tree, and a file, with exit code 2', async () => {
    const dir = await tempDir()
    await writeTree(dir, { 'tree/file': 'x' })
    const inside = await holdfast(['import', '.', '--store', 'level:store', '--share', 's'], { cwd: dir })
    expect(inside).toMatchObject({ code: 2, stderr: expect.stringContaining('which the import writes to') as string })
    expect(await holdfast(['import', 'nope', '--store', 'level:store'], { cwd: dir })).toMatchObject({ code: 2, stderr: expect.stringContaining('there is no such directory') as string })
    expect(await holdfast(['import', 'tree/file', '--store', 'level:store'], { cwd: dir })).toMatchObject({ code: 2, stderr: expect.stringContaining('it is not a directory') as string })
    expect(await readdir(dir)).toEqual(['tree'])
  })
})

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

/** A store that says whatever the test wants it to. */
function hostileStore(inodes: readonly Inode[], entries: Readonly<Record<number, readonly (readonly [string, number])[]>>): MetadataStore {
  const find = (number: number): Inode | undefined => inodes.find((inode) => inode.inode === number)
  const readDirectory = (number: number): Promise<unknown> =>
    Promise.resolve({ entries: (entries[number] ?? []).map(([name, inode]) => ({ name, inode, type: find(inode)?.type ?? 'file' })), cursor: undefined })
  return { inode: (number: number) => Promise.resolve(find(number)), readDirectory } as unknown as MetadataStore
}

describe('exportTree()', () => {
  const attributes = { mode: 0o755, uid: 0, gid: 0, size: 0, accessedAtNs: 0n, modifiedAtNs: 0n, changedAtNs: 0n, createdAtNs: 0n, xattrs: new Map() }
  const directory: Inode = { ...attributes, inode: 1, type: 'directory', links: 2, symlinkTarget: undefined, payloadId: undefined, blockCount: 0 }
  const file: Inode = { ...directory, inode: 2, type: 'file', links: 1 }

  it.each(['../escaped', '..', '.', '', 'a/b', 'nul\0'])('refuses the name %j and writes nothing outside', async (name) => {
    const dir = await tempDir()
    const payloads = await PayloadDirectory.open(join(dir, 'payloads'), { create: true })
    const store = hostileStore([directory, file], { 1: [[name, 2]] })
    await expect(exportTree({ directory: join(dir, 'out'), store, root: 1, payloads })).rejects.toMatchObject({ code: 'record_invalid' })
    expect((await readdir(dir)).toSorted()).toEqual(['out', 'payloads'])
    expect(await readdir(join(dir, 'out'))).toEqual([])
  })

  it('never writes through a symbolic link that an entry of the same name made', async () => {
    const dir = await tempDir()
    await writeTree(dir, { 'outside/keep': 'safe' })
    const payloads = await PayloadDirectory.open(join(dir, 'payloads'), { create: true })
    const symlink: Inode = { ...file, inode: 3, type: 'symlink', symlinkTarget: join(dir, 'outside/keep') }
    const store = hostileStore([directory, file, symlink], { 1: [['x', 3], ['x', 2]] })
    await expect(exportTree({ directory: join(dir, 'out'), store, root: 1, payloads })).rejects.toMatchObject({ code: 'destination_path_conflict' })
    expect(await readFile(join(dir, 'outside/keep'), 'utf8')).toBe('safe')
  })

  it('refuses a directory that contains itself', async () => {
    const dir = await tempDir()
    const payloads = await PayloadDirectory.open(join(dir, 'payloads'), { create: true })
    const store = hostileStore([directory], { 1: [['again', 1]] })
    await expect(exportTree({ directory: join(dir, 'out'), store, root: 1, payloads })).rejects.toMatchObject({ code: 'record_invalid' })
  })

  it('refuses an empty directory reached through a planted symbolic link', async () => {
    const dir = await tempDir()
    await mkdir(join(dir, 'real'))
    await symlink(join(dir, 'real'), join(dir, 'out'))
    const payloads = await PayloadDirectory.open(join(dir, 'payloads'), { create: true })
    await expect(exportTree({ directory: join(dir, 'out'), store: hostileStore([directory], {}), root: 1, payloads })).rejects.toMatchObject({
      code: 'restore_destination_not_empty',
    })
    expect(await readlink(join(dir, 'out'))).toBe(join(dir, 'real'))
  })
})
