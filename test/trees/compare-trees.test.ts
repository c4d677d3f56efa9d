import { chmod, link, lutimes, mkdir, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { compareTrees } from '../../src/trees/index.ts'
import { writeTree } from '../cli/holdfast.ts'
import { tempDir } from '../support/temp-dir.ts'

const AT = 1_600_000_000

async function makeTree(root: string): Promise<void> {
  await writeTree(root, { 'dir/file': 'content', twin: 'x' })
  await link(join(root, 'twin'), join(root, 'dir/twin'))
  await symlink('twin', join(root, 'soft'))
  await lutimes(join(root, 'soft'), AT, AT)
  for (const path of ['dir/file', 'twin', 'dir', '.']) await utimes(join(root, path), AT, AT)
}

it('compareTrees() finds no difference of a tree made twice', async () => {
  const dir = await tempDir()
  await makeTree(join(dir, 'first'))
  await makeTree(join(dir, 'second'))
  expect(await compareTrees(join(dir, 'first'), join(dir, 'second'))).toEqual({ entries: 6, bytes: 9, differences: [] })
})

it.each([
  ['content', (root: string) => writeFile(join(root, 'dir/file'), 'CONTENT'), './dir/file: content'],
  ['a mode', (root: string) => chmod(join(root, 'dir/file'), 0o600), './dir/file: mode'],
  ['a time', (root: string) => utimes(join(root, 'dir/file'), AT, AT + 1), './dir/file: modification time'],
  ['a link target', (root: string) => rm(join(root, 'soft')).then(() => symlink('else', join(root, 'soft'))), './soft: link target'],
  ['a type', (root: string) => rm(join(root, 'dir/file')).then(() => mkdir(join(root, 'dir/file'))), './dir/file: type'],
  ['a hard link', (root: string) => rm(join(root, 'dir/twin')).then(() => writeFile(join(root, 'dir/twin'), 'x')), './twin: hard links'],
  ['a name that is missing', (root: string) => rm(join(root, 'dir/file')), './dir/file: missing in the second tree'],
  ['a name that is new', (root: string) => writeFile(join(root, 'new'), ''), './new: only in the second tree'],
])('compareTrees() finds %s', async (_, change, difference) => {
  const dir = await tempDir()
  await makeTree(join(dir, 'first'))
  await makeTree(join(dir, 'second'))
  await change(join(dir, 'second'))
  expect((await compareTrees(join(dir, 'first'), join(dir, 'second'))).differences).toContainEqual(expect.stringContaining(difference))
})
