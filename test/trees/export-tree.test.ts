import { chmod, mkdir, readdir, readFile, readlink, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Inode, MetadataStore } from '../../src/contracts/metadata-store.ts'
import { PayloadDirectory } from '../../src/payload-stores/directory/index.ts'
import { openMemoryStore } from '../../src/stores/memory/index.ts'
import { chooseShare, exportTree } from '../../src/trees/index.ts'
import { writeTree } from '../cli/holdfast.ts'
import { tempDir } from '../support/temp-dir.ts'

/** A store that says whatever the test wants it to. */
function hostileStore(inodes: readonly Inode[], entries: Readonly<Record<number, readonly (readonly [string, number])[]>>): MetadataStore {
  const find = (number: number): Inode | undefined => inodes.find((inode) => inode.inode === number)
  const readDirectory = (number: number): Promise<unknown> =>
    Promise.resolve({ entries: (entries[number] ?? []).map(([name, inode]) => ({ name, inode, type: find(inode)?.type ?? 'file' })), cursor: undefined })
  return { inode: (number: number) => Promise.resolve(find(number)), readDirectory, async *blocks() {} } as unknown as MetadataStore
}

type Entries = Parameters<typeof hostileStore>[1]

describe('exportTree()', () => {
  const attributes = { mode: 0o755, uid: 0, gid: 0, size: 0, accessedAtNs: 0n, modifiedAtNs: 0n, changedAtNs: 0n, createdAtNs: 0n, xattrs: new Map() }
  const directory: Inode = { ...attributes, inode: 1, type: 'directory', links: 2, symlinkTarget: undefined, payloadId: undefined, blockCount: 0 }
  const file: Inode = { ...directory, inode: 2, type: 'file', links: 1 }

  it.each(['../escaped', '..', '.', '', 'a/b', 'nul\0'])('refuses the name %j and writes nothing outside', async (name) => {
    const dir = await tempDir()
    const payloads = await PayloadDirectory.open(join(dir, 'payloads'), { create: true })
    const store = hostileStore([directory, file], { 1: [[name, 2]] })
    await expect(exportTree({ directory: join(dir, 'out'), store, root: 1, payloads })).rejects.toMatchObject({ code: 'record_invalid' })
    expect(await readdir(dir)).toEqual(['payloads'])
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

  it.each([['its own', false], ['an empty one that was there', true]])('removes a partial tree from %s, read-only directories too, so that it can be repeated', async (_, isThere) => {
    const dir = await tempDir()
    const payloads = await PayloadDirectory.open(join(dir, 'payloads'), { create: true })
    const out = join(dir, 'out')
    if (isThere) await mkdir(out)
    const readOnly: Inode = { ...directory, inode: 4, mode: 0o555 }
    const lost: Inode = { ...file, inode: 5, size: 1, payloadId: 'a'.repeat(64) }
    const as = { directory: out, root: 1, payloads }
    const entries: Entries = { 1: [['dir', 4], ['last', 6]], 4: [['inner', 2]], 6: [['lost', 5]] }
    const inodes = [directory, file, readOnly, { ...directory, inode: 6 }]
    await expect(exportTree({ ...as, store: hostileStore([...inodes, lost], entries) })).rejects.toMatchObject({ code: 'backup_incomplete' })
    expect((await readdir(dir)).toSorted()).toEqual(isThere ? ['out', 'payloads'] : ['payloads'])
    expect(await exportTree({ ...as, store: hostileStore([...inodes, { ...file, inode: 5 }], entries) })).toMatchObject({ files: 2 })
    await chmod(join(out, 'dir'), 0o755)
  })

  it('says that a partial tree remains where another process writes to the same directory', async () => {
    const dir = await tempDir()
    const payloads = await PayloadDirectory.open(join(dir, 'payloads'), { create: true })
    const out = join(dir, 'out')
    const store = hostileStore([directory, file], { 1: [['x', 2]] })
    const inode: MetadataStore['inode'] = async (number) => {
      if (number === 2) await writeTree(out, { x: 'of another' })
      return await store.inode(number)
    }
    const failure = exportTree({ directory: out, store: { ...store, inode }, root: 1, payloads })
    await expect(failure).rejects.toMatchObject({ code: 'destination_path_conflict', message: expect.stringContaining(`a partial tree remains in ${JSON.stringify(out)}`) as unknown })
    expect(await readFile(join(out, 'x'), 'utf8')).toBe('of another')
  })

  it.each<[string, Entries, string]>([
    ['that contains itself', { 1: [['again', 1]] }, 'out/again'],
    ['in a ring', { 1: [['a', 2]], 2: [['b', 3]], 3: [['c', 2]] }, 'out/a/b/c'],
    // Twice in each of 40 levels: 2^40 directories to write.
    ['in two places', Object.fromEntries(Array.from({ length: 40 }, (_, at): [number, Entries[number]] => [at + 1, [['a', at + 2], ['b', at + 2]]])), `out${'/a'.repeat(39)}/b`],
  ])('refuses a directory %s', async (_, entries, path) => {
    const dir = await tempDir()
    const payloads = await PayloadDirectory.open(join(dir, 'payloads'), { create: true })
    const directories = Array.from({ length: 41 }, (_, at): Inode => ({ ...directory, inode: at + 1 }))
    const refused = exportTree({ directory: join(dir, 'out'), store: hostileStore(directories, entries), root: 1, payloads })
    await expect(refused).rejects.toMatchObject({ code: 'record_invalid', message: expect.stringContaining(JSON.stringify(join(dir, path))) as unknown })
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

describe('chooseShare()', () => {
  it('takes the only share, or the named one, and refuses to guess', async () => {
    await using store = await openMemoryStore()
    await expect(chooseShare(store, undefined)).rejects.toMatchObject({ code: 'entry_not_found', message: 'Cannot export: the store has no share' })
    await store.createShare('one')
    expect(await chooseShare(store, undefined)).toMatchObject({ name: 'one' })
    await store.createShare('two')
    expect(await chooseShare(store, 'two')).toMatchObject({ name: 'two' })
    await expect(chooseShare(store, undefined)).rejects.toMatchObject({ code: 'invalid_argument', hint: 'Name one with --share: "one", "two"' })
    await expect(chooseShare(store, 'three')).rejects.toMatchObject({ code: 'entry_not_found', hint: 'Name one of its shares: "one", "two"' })
  })
})
