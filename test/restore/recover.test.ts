import { readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { fsDestination } from '../../destinations/fs/index.ts'
import { newUlid } from '../../src/util/ulid.ts'
import { type Files, nodeFiles, systemError } from '../../src/util/files.ts'
import { recover } from '../../src/restore/recover.ts'
import { restoreBackup } from '../../src/restore/restore-backup.ts'
import { rollback } from '../../src/restore/rollback.ts'
import type { RestoreStep } from '../../src/restore/steps.ts'
import { type LevelStore, openLevelHome, openLevelStore } from '../../src/stores/level/index.ts'
import { READ_ONLY_CALLS, interceptFiles } from '../support/faulty-files.ts'
import { tempDir } from '../support/temp-dir.ts'
import { publish, takeBackup } from './publish.ts'
import { dump, fillStore } from './trees.ts'

interface Setting {
  readonly path: string
  readonly destination: ReturnType<typeof fsDestination>
  readonly backupId: string
  readonly original: string
  readonly now: string
}

/** A closed store that differs from its backup. */
async function setting(): Promise<Setting> {
  const root = await tempDir()
  const path = join(root, 'store')
  const destination = fsDestination({ path: join(root, 'backups') })
  const store = await openLevelStore(path)
  await fillStore(store, { seed: 1, files: 12 })
  const original = await dump(store)
  const backupId = await publish(destination, await takeBackup(store))
  await store.setSetting('changed', 'since')
  const now = await dump(store)
  await store.close()
  return { path, destination, backupId, original, now }
}

async function opened(path: string, files?: Files): Promise<LevelStore> {
  const store = await openLevelStore(path, { create: false, files })
  onTestFinished(() => store.close())
  return store
}

/** Files that change nothing more once they are told. */
function cuttable(): { readonly files: Files; readonly cut: () => void; readonly heal: () => void } {
  let isCut = false
  const files = interceptFiles(nodeFiles, async (step, run) => {
    if (isCut && !READ_ONLY_CALLS.includes(step.call)) throw systemError('EIO', step.call, step.path)
    return await run()
  })
  return { files, cut: () => void (isCut = true), heal: () => void (isCut = false) }
}

/** Leaves a store as a process leaves it that is killed at the beginning of a step. */
async function cutAt({ path, destination, backupId }: Setting, at: RestoreStep): Promise<void> {
  const { files, cut } = cuttable()
  const home = await openLevelHome(path, { files })
  await restoreBackup({ target: home, destination, backupId, onProgress: ({ step }) => void (step === at && cut()) }).catch(() => undefined)
  await home.close()
}

async function enginesOf(path: string): Promise<readonly string[]> {
  return await readdir(join(path, 'engines'))
}

describe('recover', () => {
  it('does nothing where no restore was interrupted', async () => {
    const { path, now } = await setting()
    const store = await opened(path)
    expect(await recover(store)).toEqual({ outcome: 'nothing-to-do', journal: undefined, reason: undefined })
    expect(await dump(store)).toBe(now)
  })

  it('at open completes a restore that was swapped and serves', async () => {
    const given = await setting()
    await cutAt(given, 'check-live')
    expect(await readdir(given.path)).toContain('restore.json')
    const store = await opened(given.path)
    expect(await dump(store)).toBe(given.original)
    expect(await store.readJournal()).toBe(undefined)
    await rollback({ target: store })
    expect(await dump(store)).toBe(given.now)
  })

  it('at open undoes a restore that was swapped and does not serve, and keeps both engines', async () => {
    const given = await setting()
    const [from] = await enginesOf(given.path)
    await cutAt(given, 'check-live')
    const [to = ''] = (await enginesOf(given.path)).filter((name) => name !== from)
    await rm(join(given.path, 'engines', to, 'CURRENT'))
    const store = await opened(given.path)
    expect(await dump(store)).toBe(given.now)
    expect(await store.engines()).toEqual({ live: from, previous: to, leftovers: [] })
    expect(await store.readJournal()).toBe(undefined)
  })

  it.each(['journal', 'swap'] as const)('at open undoes a restore that was cut off at its step %s, and removes its engine', async (step) => {
    const given = await setting()
    const [from] = await enginesOf(given.path)
    await cutAt(given, step)
    expect(await enginesOf(given.path)).toHaveLength(2)
    const store = await opened(given.path)
    expect(await dump(store)).toBe(given.now)
    expect(await enginesOf(given.path)).toEqual([from])
  })

  it('of an interrupted rollback never removes the engine it would have gone back to', async () => {
    const { path, destination, backupId, now } = await setting()
    const first = await opened(path)
    await restoreBackup({ target: first, destination, backupId })
    await first.close()
    const { files, cut } = cuttable()
    const home = await openLevelHome(path, { files })
    await rollback({ target: home, onProgress: ({ step }) => void (step === 'swap' && cut()) }).catch(() => undefined)
    await home.close()
    expect(await readdir(path)).toContain('restore.json')
    const store = await opened(path)
    await rollback({ target: store })
    expect(await dump(store)).toBe(now)
  })

  it('refuses a journal that knows not the live engine, and changes and removes nothing', async () => {
    const { path } = await setting()
    const journal = { format: 1, restoreId: newUlid(), from: newUlid(), to: newUlid(), startedAtMs: 1 }
    await writeFile(join(path, 'restore.json'), JSON.stringify(journal))
    const before = [await readFile(join(path, 'holdfast.json'), 'utf8'), ...(await enginesOf(path))]
    await expect(openLevelStore(path)).rejects.toMatchObject({ code: 'store_unavailable', message: expect.stringContaining(journal.restoreId) as string })
    expect([await readFile(join(path, 'holdfast.json'), 'utf8'), ...(await enginesOf(path))]).toEqual(before)
  })

  it('refuses a journal that cannot be read, and changes nothing', async () => {
    const { path } = await setting()
    await writeFile(join(path, 'restore.json'), 'junk')
    await expect(openLevelStore(path)).rejects.toMatchObject({ code: 'store_unavailable', message: expect.stringContaining('restore.json') as string })
    expect(await readFile(join(path, 'restore.json'), 'utf8')).toBe('junk')
  })

  it('in a running process, after a swap that could be neither made nor undone: the handle serves nothing until recover, and loses nothing', async () => {
    const { path, destination, backupId, now, original } = await setting()
    let failing = false
    const files = interceptFiles(nodeFiles, async (step, run) => {
      // The rename of the pointer is made, and whether it lasts cannot be told; nor can it be taken back.
      if (failing && step.call === 'syncDirectory' && step.path === path) throw systemError('EIO', 'fsync', step.path)
      return await run()
    })
    const store = await opened(path, files)
    const failure = await restoreBackup({ target: store, destination, backupId, onProgress: ({ step }) => void (step === 'swap' && (failing = true)) }).catch((error: unknown) => error)
    expect(failure).toMatchObject({ code: 'store_unavailable', message: expect.stringContaining('undoing the swap failed too') as string })
    await expect(store.setSetting('a', 'b')).rejects.toMatchObject({ code: 'store_unavailable', message: expect.stringContaining('reopen the store') as string })
    await expect(store.shares()).rejects.toMatchObject({ code: 'store_unavailable' })
    failing = false
    const { outcome } = await recover(store)
    expect(outcome).not.toBe('nothing-to-do')
    expect([now, original]).toContain(await dump(store))
    await store.setSetting('goes', 'on')
    await store.close()
    expect(await (await opened(path)).setting('goes')).toBe('on')
  })

  it('comes first in the next restore of a running process', async () => {
    const given = await setting()
    const { files, cut, heal } = cuttable()
    const store = await opened(given.path, files)
    const report = await restoreBackup({ target: store, destination: given.destination, backupId: given.backupId, onProgress: ({ step }) => void (step === 'clear-journal' && cut()) })
    expect(report.warnings).toHaveLength(1)
    expect(await dump(store)).toBe(given.original)
    heal()
    const again = await restoreBackup({ target: store, destination: given.destination, backupId: given.backupId })
    expect(again).toMatchObject({ previous: report.live, warnings: [] })
    expect(await dump(store)).toBe(given.original)
  })
})
