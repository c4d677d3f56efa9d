/** `holdfast restore ID --path`: one file or directory back into a store, with its content. */
import { link, mkdir, readdir, readFile, rename, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { compareTrees } from '../../src/trees/compare-trees.ts'
import { openStaging } from '../../src/restore/subtree/staging.ts'
import { openLevelStore } from '../../src/stores/level/index.ts'
import { removeAt } from '../restore/subtree/subtrees.ts'
import { tempDir } from '../support/temp-dir.ts'
import { frozen } from './frozen.ts'
import { holdfast, holdfastJson, holdfastOnTerminal, writeTree } from './holdfast.ts'

const FROM = ['--from', 'file:backups', '--store', 'level:store', '--trial-dir', 'trials'] as const
const GC = ['gc', '--store', 'level:store', '--payloads', 'payloads', '--from', 'file:backups', '--min-age', '0', '--apply']

/** A directory with a tree that was imported and backed up, and `tree/lost` of it removed from the store since. */
async function withLoss(): Promise<{ readonly cwd: string; readonly backupId: string }> {
  const cwd = await tempDir()
  await writeTree(join(cwd, 'tree'), { 'kept/a.txt': 'alpha', 'lost/ünï 😀\n-x/b': 'x'.repeat(5_000_000), 'lost/c.txt': 'gamma', 'lost/empty': '' })
  await symlink('c.txt', join(cwd, 'tree/lost/link'))
  await link(join(cwd, 'tree/lost/c.txt'), join(cwd, 'tree/lost/ünï 😀\n-x/c again'))
  await mkdir(join(cwd, 'trials'))
  await holdfastJson(['import', 'tree', '--store', 'level:store', '--payloads', 'payloads'], { cwd })
  const { backupId } = await holdfastJson<{ backupId: string }>(['backup', '--store', 'level:store', '--to', 'file:backups'], { cwd })
  await changed(cwd, (store) => removeAt(store, 'tree/lost'))
  return { cwd, backupId }
}

async function changed(cwd: string, change: (store: Awaited<ReturnType<typeof openLevelStore>>) => Promise<unknown>): Promise<void> {
  await using store = await openLevelStore(join(cwd, 'store'))
  await change(store)
}

async function pathsOf(cwd: string): Promise<readonly string[]> {
  await using store = await openLevelStore(join(cwd, 'store'))
  const paths: string[] = []
  for (const { name, root } of await store.shares()) paths.push(name, ...(await store.readDirectory(root)).entries.map((entry) => `${name}/${entry.name}`))
  return paths
}

describe('holdfast restore --path', () => {
  it('brings a directory back after a collection of garbage, and it stays when the backup goes: its export is equal byte for byte', async () => {
    const { cwd, backupId } = await withLoss()
    expect(await holdfastJson(GC, { cwd })).toMatchObject({ held: { payloads: 3 }, deleted: { payloads: 0 } })
    const { code, stdout, stderr } = await holdfast(['restore', 'latest', ...FROM, '--path', 'tree/lost', '--payloads', 'payloads'], { cwd })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(new RegExp(`^Restored "tree/lost" of ${backupId} into level:store: 3 files \\(4\\.77 MiB\\), 2 directories, 1 symbolic link, 1 hard link, in [^\\n]+\\n$`))
    await holdfastJson(['delete', backupId, '--from', 'file:backups', '--catalog', 'store/catalog', '--force', '--yes'], { cwd })
    expect(await holdfastJson(GC, { cwd })).toMatchObject({ live: { payloads: 4 }, deleted: { payloads: 0 } })
    await holdfastJson(['export', 'out', '--store', 'level:store', '--payloads', 'payloads'], { cwd })
    expect(await compareTrees(join(cwd, 'tree'), join(cwd, 'out'))).toMatchObject({ differences: [], entries: 10 })
    expect(await readdir(join(cwd, 'trials'))).toEqual([])
  })

  it('puts it elsewhere, and replaces only what it is told to', async () => {
    const { cwd } = await withLoss()
    const file = ['restore', 'latest', ...FROM, '--path', '/tree/lost/c.txt']
    expect(await holdfastJson([...file, '--to-path', 'tree/c.txt'], { cwd })).toMatchObject({ toPath: 'tree/c.txt', replaced: false, restored: { files: 1, bytes: 5 }, warnings: [] })
    expect(await holdfast([...file, '--to-path', 'tree/kept'], { cwd })).toMatchObject({ code: 4, stdout: '', stderr: expect.stringMatching(/^error: entry_exists: [^\n]+\nhint: [^\n]+--overwrite/) as unknown })
    expect((await holdfast([...file, '--to-path', 'tree/kept/a.txt', '--overwrite'], { cwd })).stderr).toContain('\nIt replaces the file "tree/kept/a.txt": 5 B, modified ')
    expect((await holdfast(['restore', '--help'])).stdout.replaceAll(/\s+/g, ' ')).toContain('A hard link to a file outside of it becomes a file of its own')
    expect(await holdfast([...file, '--to-path', 'tree/kept', '--overwrite'], { cwd })).toMatchObject({ code: 2, stderr: expect.stringContaining('Repeat the command with --yes') as unknown })
    expect(await pathsOf(cwd)).toEqual(['tree', 'tree/c.txt', 'tree/kept'])
    const { stdout } = await holdfast([...file, '--to-path', 'tree/kept', '--overwrite', '--yes'], { cwd })
    expect(stdout).toContain('as "tree/kept" into level:store, in place of what was there: 1 file (5 B)')
    await holdfastJson(['export', 'out', '--store', 'level:store', '--payloads', 'payloads'], { cwd })
    expect(await readFile(join(cwd, 'out/kept'), 'utf8')).toBe('gamma')
  })

  it('says how a share that was lost whole comes back, and so it does', async () => {
    const { cwd } = await withLoss()
    await changed(cwd, async (store) => {
      await removeAt(store, 'tree/kept')
      await store.removeShare('tree')
    })
    const words = ['restore', 'latest', ...FROM, '--payloads', 'payloads', '--path']
    expect(await holdfast([...words, 'tree/lost'], { cwd })).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error: entry_not_found: [^\n]*"tree" in the store\nhint: [^\n]*--to-path[^\n]*"holdfast import --share SHARE" of an empty directory/) as unknown })
    await mkdir(join(cwd, 'nothing'))
    await holdfastJson(['import', 'nothing', '--share', 'tree', '--store', 'level:store'], { cwd })
    for (const path of ['tree/lost', 'tree/kept']) await holdfastJson([...words, path], { cwd })
    await holdfastJson(['export', 'out', '--store', 'level:store', '--payloads', 'payloads'], { cwd })
    expect((await compareTrees(join(cwd, 'tree/lost'), join(cwd, 'out/lost'))).differences).toEqual([])
    await holdfastJson([...words, 'tree', '--to-path', 'tree/all'], { cwd })
    expect(await pathsOf(cwd)).toEqual(['tree', 'tree/all', 'tree/kept', 'tree/lost'])
  })

  it('asks before it replaces something', async () => {
    const { cwd } = await withLoss()
    const words = ['restore', 'latest', '--from', `file:${cwd}/backups`, '--store', `level:${cwd}/store`, '--trial-dir', join(cwd, 'trials'), '--path', 'tree/lost', '--to-path', 'tree/kept', '--overwrite']
    const no = await holdfastOnTerminal(words, { answer: 'n\n' })
    expect(no.code).toBe(1)
    expect(no.stderr).toMatch(/^It restores "tree\/lost" of backup \w{26}\nIt replaces the directory "tree\/kept" and all in it \(1 entry\), modified [^\n]+Z\n/)
    expect(no.stderr).toContain(`Replace what is at "tree/kept" in level:${cwd}/store for good? [y/N]`)
    expect((await holdfastOnTerminal(words, { answer: 'y\n' })).stdout).toContain('in place of what was there')
  })

  it.each([
    ['a path that is not in the backup', ['--path', 'tree/none'], 1, 'entry_not_found'],
    ['a path in a file', ['--path', 'tree/kept/a.txt/x', '--to-path', 'tree/x'], 1, 'not_a_directory'],
    ['a share that is not in the store', ['--path', 'tree/lost', '--to-path', 'other/lost'], 1, 'entry_not_found'],
    ['a whole share', ['--path', 'tree'], 2, 'invalid_argument'],
    ['a path that leads up', ['--path', 'tree/../tree/lost'], 2, 'invalid_argument'],
    ['--to-path alone', ['--to-path', 'tree/x', '--yes'], 2, 'invalid_argument'],
    ['--release alone', ['--release', '.holdfast-restore-x', '--yes'], 2, 'invalid_argument'],
    ['to release what no restore has left', ['--path', 'tree/lost', '--release', 'tree'], 2, 'invalid_argument'],
    ['--overwrite alone', ['--overwrite', '--yes'], 2, 'invalid_argument'],
    ['a payload directory that is not there', ['--path', 'tree/lost', '--payloads', 'none'], 1, 'entry_not_found'],
    ['payloads that are not there', ['--path', 'tree/lost', '--payloads', 'trials'], 3, 'payload_missing'],
  ] as const)('refuses %s, and changes nothing', async (_, words, code, error) => {
    const { cwd } = await withLoss()
    const outcome = await holdfast(['restore', 'latest', ...FROM, ...words], { cwd })
    expect(outcome).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(new RegExp(`^error: ${error}: [A-Z][^\\n]*[^.\\n]\\nhint: [A-Z][^\\n]*\\n$`)) as unknown })
    expect(await pathsOf(cwd)).toEqual(['tree', 'tree/kept'])
    expect(await readdir(join(cwd, 'trials'))).toEqual([])
  })

  it.each([
    ['tree/none/x', 'entry_not_found: Cannot find "tree/none" in the backup\nhint: Run "holdfast ls" with the path to see its entries: "tree"'],
    ['none/x', 'entry_not_found: Cannot find share "none" in the backup\nhint: Run "holdfast ls" without a path to see the shares'],
    ['tree/kept/a.txt/x', 'not_a_directory: Cannot list "tree/kept/a.txt" in the backup: it is a file\n'],
  ])('says that %s is not in the backup before it is restored', async (path, says) => {
    const { cwd } = await withLoss()
    await rename(join(cwd, 'trials'), join(cwd, 'no-trials'))
    const outcome = await holdfast(['restore', 'latest', ...FROM, '--path', path, '--to-path', 'tree/x'], { cwd })
    expect(outcome.stderr).toContain(says)
    expect(await holdfast(['ls', 'latest', path, '--from', 'file:backups'], { cwd })).toEqual({ ...outcome, stderr: expect.stringContaining(says) as unknown })
  })

  it('brings what was another store\'s into this one, whose needs the other\'s collection of garbage then knows of', async () => {
    const { cwd } = await withLoss()
    await mkdir(join(cwd, 'nothing'))
    await holdfastJson(['import', 'nothing', '--store', 'level:other'], { cwd })
    const words = ['restore', 'latest', '--from', 'file:backups', '--store', 'level:other', '--trial-dir', 'trials', '--path', 'tree/lost', '--to-path', 'nothing/found', '--payloads', 'payloads']
    expect(await holdfast(words, { cwd })).toMatchObject({ code: 4, stderr: expect.stringMatching(/^warning: the store ".*refers to payloads in this directory too[^]*^error: store_id_mismatch: /m) as unknown })
    await holdfastJson([...words, '--allow-store-id'], { cwd })
    expect(await holdfast(GC, { cwd })).toMatchObject({ code: 1, stderr: expect.stringMatching(/refers to payloads there too/) as unknown })
    await holdfastJson(['export', 'out', '--store', 'level:other', '--payloads', 'payloads'], { cwd })
    expect((await compareTrees(join(cwd, 'tree/lost'), join(cwd, 'out/found'))).differences).toEqual([])
  })

  it('changes nothing, the payload directory either, before it was confirmed, and all was checked', async () => {
    const { cwd } = await withLoss()
    await mkdir(join(cwd, 'nothing'))
    await holdfastJson(['import', 'nothing', '--store', 'level:other'], { cwd })
    const words = ['restore', 'latest', '--from', 'file:backups', '--store', 'level:other', '--trial-dir', 'trials', '--payloads', 'payloads', '--allow-store-id', '--overwrite', '--to-path', 'nothing/found']
    expect(await holdfast([...words, '--path', 'tree/lost'], { cwd })).toMatchObject({ code: 2, stderr: expect.stringContaining('Repeat the command with --yes') as unknown })
    expect(await holdfast([...words, '--path', 'tree/../lost'], { cwd })).toMatchObject({ code: 2, stderr: expect.stringContaining('Cannot use ".." as name') as unknown })
    for (const path of ['tree/none', 'tree/kept/a.txt/x']) await holdfast([...words, '--path', path, '--yes'], { cwd })
    await rename(join(cwd, 'trials'), join(cwd, 'no-trials'))
    expect(await holdfast([...words, '--path', 'tree/lost', '--yes'], { cwd })).toMatchObject({ code: 1 })
    expect(await readdir(join(cwd, 'payloads/stores'))).toHaveLength(1)
  })

  it('does nothing without a catalog to hold the payloads with', async () => {
    const { cwd } = await withLoss()
    await writeTree(cwd, { 'no-catalog': 'a file' })
    const outcome = await holdfast(['restore', 'latest', ...FROM, '--path', 'tree/lost', '--catalog', 'no-catalog'], { cwd })
    expect(outcome).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error: catalog_unavailable: /) as unknown })
    expect(await pathsOf(cwd)).toEqual(['tree', 'tree/kept'])
  })
})

describe('holdfast export', () => {
  it('takes what a killed restore has left for no share, unless it is named', async () => {
    const { cwd } = await withLoss()
    await changed(cwd, async (store) => {
      const { share } = await openStaging(store)
      expect(share).toMatch(/^\.holdfast-restore-/)
    })
    const words = ['--store', 'level:store', '--payloads', 'payloads']
    expect(await holdfastJson(['export', 'out', ...words], { cwd })).toMatchObject({ share: 'tree', files: 1 })
    const [left = ''] = await pathsOf(cwd)
    expect(await holdfastJson(['export', 'left', ...words, '--share', left], { cwd })).toMatchObject({ share: left, files: 0 })
  })
})

describe.runIf(process.platform === 'linux')('holdfast restore --path', () => {
  it.each(['SIGINT', 'SIGKILL'] as const)('ended by %s in the middle leaves the tree as it was, and the next one brings it back', async (signal) => {
    const { cwd } = await withLoss()
    const words = ['restore', 'latest', ...FROM, '--path', 'tree/lost']
    const outcome = await (await frozen(words, { cwd, at: /\/payload$/, times: 3 })).end(signal)
    expect(outcome.code).toBe(signal === 'SIGINT' ? 130 : null)
    expect(await pathsOf(cwd)).toEqual(['tree', 'tree/kept'])
    expect((await readdir(join(cwd, 'trials'))).length).toBe(signal === 'SIGINT' ? 0 : 1)
    await holdfastJson(words, { cwd })
    expect(await pathsOf(cwd)).toEqual(['tree', 'tree/kept', 'tree/lost'])
    const { jobs } = await holdfastJson<{ jobs: unknown[] }>(['jobs', '--store', 'level:store'], { cwd })
    expect(jobs).toMatchObject([{ kind: 'restore', state: 'succeeded' }, { kind: 'restore', state: 'interrupted' }, { kind: 'backup' }])
  })
})
