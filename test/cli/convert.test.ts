import { readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { expect, it } from 'vitest'
import { openLevelStore } from '../../src/stores/level/index.ts'
import { dumpStore } from '../support/dump-store.ts'
import { fillStore } from '../support/fill-store.ts'
import { tempDir } from '../support/temp-dir.ts'
import { holdfast, holdfastJson } from './holdfast.ts'

const CONVERT = ['convert', '--from-store', 'level:from', '--to-store', 'level:to']

/** A directory with a store "from" that has something of everything. */
async function prepare(): Promise<{ readonly dir: string; readonly dump: unknown; readonly storeId: string }> {
  const dir = await tempDir()
  await using store = await openLevelStore(join(dir, 'from'))
  await fillStore(store)
  return { dir, dump: await dumpStore(store), storeId: store.storeId }
}

async function dumpAt(path: string): Promise<unknown> {
  await using store = await openLevelStore(path, { create: false })
  return await dumpStore(store)
}

it('holdfast convert copies a store into one that it makes, and reports it as one JSON document', async () => {
  const { dir, dump, storeId } = await prepare()
  const report = await holdfastJson<{ to: { storeId: string } }>(CONVERT, { cwd: dir })
  expect(report).toMatchObject({
    from: { kind: 'level', storeId },
    to: { kind: 'level' },
    records: { shares: 2, inodes: 14, entries: 13, blocks: 2500, locks: 2, uploads: 2, settings: 2 },
    payloadIds: { count: 701 },
  })
  expect(report.to.storeId).not.toBe(storeId)
  expect(await dumpAt(join(dir, 'to'))).toEqual(dump)
  expect(await dumpAt(join(dir, 'from'))).toEqual(dump)
})

it('holdfast convert says in two lines what was copied', async () => {
  const { dir } = await prepare()
  const { code, stdout, stderr } = await holdfast(CONVERT, { cwd: dir })
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/^Copied level:from \(level store \w+\) into level:to \(level store \w+\) in [^\n]+\n2 shares, [^\n]+, 701 payload IDs: all compared and equal\n$/)
})

it('holdfast convert refuses a populated target with exit code 4, and changes nothing', async () => {
  const { dir, dump } = await prepare()
  await holdfastJson(CONVERT, { cwd: dir })
  const { code, stdout, stderr } = await holdfast(CONVERT, { cwd: dir })
  expect({ code, stdout }).toEqual({ code: 4, stdout: '' })
  expect(stderr).toMatch(/^error: restore_destination_not_empty: [^\n]+\nhint: [^\n]+\n$/)
  expect(await dumpAt(join(dir, 'to'))).toEqual(dump)
})

it('holdfast convert onto a LevelDB of something else says to name another directory: adopted, it would not be empty', async () => {
  const { dir } = await prepare()
  const foreign = new ClassicLevel(join(dir, 'to'))
  await foreign.put('a record', 'of another program')
  await foreign.close()
  for (const words of [CONVERT, [...CONVERT, '--adopt']]) {
    const { code, stderr } = await holdfast(words, { cwd: dir })
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/^error: store_unavailable: [^\n]+ plain LevelDB directory\nhint: Name a directory that does not exist or is empty\n$/) as string,
    })
  }
})

it('holdfast convert makes no target when there is nothing to copy from, and takes no store for both', async () => {
  const dir = await tempDir()
  const missing = await holdfast(CONVERT, { cwd: dir })
  expect(missing).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error: store_unavailable: .*there is none/) as unknown })
  const same = await holdfast(['convert', '--from-store', 'level:from', '--to-store', 'level:./x/../from'], { cwd: dir })
  expect(same).toMatchObject({ code: 2, stderr: expect.stringMatching(/^error: invalid_argument: .*into itself/) as unknown })
  expect(await readdir(dir)).toEqual([])
})

it('holdfast convert refuses a store that another process has open, on either side, with exit code 4', async () => {
  const { dir } = await prepare()
  for (const name of ['from', 'to']) {
    await using _held = await openLevelStore(join(dir, name))
    const { code, stderr } = await holdfast(CONVERT, { cwd: dir })
    expect({ name, code }).toEqual({ name, code: 4 })
    expect(stderr).toMatch(/^error: store_not_drained: /)
  }
})

it('holdfast restore of a backup of another kind of store is refused as store_kind_mismatch, and names convert', async () => {
  const { dir, dump } = await prepare()
  const { backupId } = await holdfastJson<{ backupId: string }>(['backup', '--store', 'level:from', '--to', 'file:backups'], { cwd: dir })
  const manifest = join(dir, 'backups', backupId, 'manifest.json')
  await writeFile(manifest, (await readFile(manifest, 'utf8')).replace('"storeKind":"level"', '"storeKind":"postgres"').replace('"storeKind": "level"', '"storeKind": "postgres"'))
  const { code, stderr } = await holdfast(['restore', backupId, '--from', 'file:backups', '--store', 'level:from', '--allow-altered', '--yes'], { cwd: dir })
  expect(code).toBe(4)
  expect(stderr).toMatch(/^error: store_kind_mismatch: [^\n]*"postgres"[^\n]*"level"[^\n]*\nhint: [^\n]*"holdfast convert"[^\n]*\n$/)
  expect(await dumpAt(join(dir, 'from'))).toEqual(dump)
})
