import { execFile } from 'node:child_process'
import { link, mkdir, readdir, symlink } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { tempDir } from '../support/temp-dir.ts'
import { writeTree } from '../cli/holdfast.ts'

const QUICKSTART = resolve(import.meta.dirname, '../../dist/test/quickstart/quickstart.js')

it('npm run quickstart does the main job on a tree of one\'s own, shows that nothing was lost, and cleans up', async () => {
  const dir = await tempDir()
  const [tree, temporary] = [join(dir, 'tree'), join(dir, 'tmp')]
  await writeTree(tree, { 'a.txt': 'first', 'sub/deep/b': 'x'.repeat(100_000), empty: '' })
  // A name outside of the directory that is lost and brought back.
  await link(join(tree, 'a.txt'), join(tree, 'sub/a.txt'))
  await symlink('a.txt', join(tree, 'link'))
  const linked = join(dir, 'linked')
  await symlink('tree', linked)
  await mkdir(temporary)
  // Rejects with what it printed when the exit code is another than 0.
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [QUICKSTART, linked], { env: { ...process.env, TMPDIR: temporary } })
  expect(stderr).toMatch(/^(error: store_unavailable: [^\n]+\nhint: [^\n]+\n){2}/)
  expect(stdout).toContain('\nEqual: 8 entries, 97.7 KiB of content; types, modes, sizes, times, SHA-256 and link targets\n')
  expect(stdout).toMatch(/\n== Next, try\n(?: {2}npx holdfast [^\n]+\n){9}$/)
  // Of the two payloads the backup alone needs both, then one, and then nothing does.
  expect([...stdout.matchAll(/by backups alone: (\d) [^\n]+\n(?:[^\n]+\n)*?Deleted: (\d) /g)].map(([, held, deleted]) => [held, deleted])).toEqual([['2', '0'], ['1', '0'], ['0', '2']])
  expect(stdout).toMatch(/\nRestored "tree\/sub" of \w+ into level:metadata: 2 files [^\n]+\n[^\n]+\n[^\n]+\nEqual: 4 entries, 97\.7 KiB of content\n/)
  expect(stdout).toContain('\nPayload files: 2 before, none now\n')
  expect(await readdir(temporary)).toEqual([])
})
