import { execFileSync } from 'node:child_process'
import { chmod, link, lstat, lutimes, mkdir, readdir, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { compareTrees } from '../../src/trees/compare-trees.ts'
import { payloadIdOf } from '../../src/payload-stores/directory/index.ts'
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

  it('say whether payloads were copied', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { one: 'same' })
    const without = await holdfast(['import', 'tree', '--store', 'level:store'], { cwd: dir })
    expect(without).toMatchObject({ code: 0, stdout: expect.stringMatching(/\nThe store has names, attributes and payload IDs; no payload was copied: "export" needs an import with --payloads\n$/) as unknown })
    const copied = await holdfast(['import', 'tree', '--store', 'level:store', '--share', 'again', '--payloads', 'payloads'], { cwd: dir })
    expect(copied).toMatchObject({ code: 0, stdout: expect.stringMatching(/\nPayloads: 1 new file, 4 B, in payloads\n$/) as unknown })
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

  it('take a linked directory to import, and refuse one to export to, empty as it may be, with what to do', async () => {
    const dir = await tempDir()
    await writeTree(join(dir, 'tree'), { file: 'x' })
    await mkdir(join(dir, 'empty'))
    await symlink('tree', join(dir, 'linked'))
    await symlink('empty', join(dir, 'out'))
    const place = ['--store', 'level:store', '--payloads', 'payloads']
    expect(await holdfastJson(['import', 'linked', ...place], { cwd: dir })).toMatchObject({ share: 'linked', files: 1 })
    const { code, stderr } = await holdfast(['export', 'out', ...place], { cwd: dir })
    expect(code).toBe(4)
    expect(stderr).toMatch(/^error: restore_destination_not_empty: Cannot export to "out": it is not a directory\nhint: Name the directory itself, not a link to it/)
    expect(await holdfastJson(['export', 'out/below', ...place], { cwd: dir })).toMatchObject({ files: 1 })
    expect(await readdir(join(dir, 'empty/below'))).toEqual(['file'])
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

  it('refuse a tree that holds the store itself, with exit code 2, a missing tree, and a file', async () => {
    const dir = await tempDir()
    await writeTree(dir, { 'tree/file': 'x' })
    const inside = await holdfast(['import', '.', '--store', 'level:store', '--share', 's'], { cwd: dir })
    expect(inside).toMatchObject({ code: 2, stderr: expect.stringContaining('which the import writes to') as string })
    expect(await holdfast(['import', 'nope', '--store', 'level:store'], { cwd: dir })).toMatchObject({ code: 1, stderr: expect.stringContaining('there is no such directory') as string })
    expect(await holdfast(['import', 'tree/file', '--store', 'level:store'], { cwd: dir })).toMatchObject({ code: 1, stderr: expect.stringContaining('it is not a directory') as string })
    expect(await readdir(dir)).toEqual(['tree'])
  })
})
