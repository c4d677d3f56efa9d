/** What keeps a LevelDB from being opened: others have it, or its file system lacks something. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { openLevelCatalog } from '../../../src/catalog/level/index.ts'
import { LevelMetadataStore, openLevelStore } from '../../../src/stores/level/index.ts'
import { type Files, nodeFiles, systemError } from '../../../src/util/files.ts'
import { tempDir } from '../../support/temp-dir.ts'

/** Makes LevelDB fail to take its lock, as the system's error says. */
function refuseLocks(reason: string): void {
  const prototype = ClassicLevel.prototype as unknown as { _open: () => Promise<void> }
  const failure = Object.assign(new Error(`IO error: lock x/LOCK: ${reason}`), { code: 'LEVEL_LOCKED' })
  const spy = vi.spyOn(prototype, '_open').mockImplementation(() => Promise.reject(failure))
  onTestFinished(() => spy.mockRestore())
}

describe.each(['No locks available', 'Function not implemented', 'Operation not supported'])('where taking a lock fails with "%s"', (reason) => {
  it('no other process is blamed: a store and a catalog say that the file system must have locks', async () => {
    const dir = await tempDir()
    refuseLocks(reason)
    const said = { message: expect.stringContaining(reason) as string, hint: expect.stringContaining('a file system with locks') as string, retryable: false }
    await expect(openLevelStore(join(dir, 'store'))).rejects.toMatchObject({ code: 'store_unavailable', ...said })
    await expect(LevelMetadataStore.open(new ClassicLevel(join(dir, 'plain')), { kind: 'level' })).rejects.toMatchObject({ code: 'store_unavailable', hint: said.hint })
    await expect(openLevelCatalog(join(dir, 'catalog'))).rejects.toMatchObject({ code: 'catalog_unavailable', ...said })
  })
})

it('a refused lock removes no file beside it', async () => {
  const store = join(await tempDir(), 'store')
  await (await openLevelStore(store)).close()
  const before = await readdir(join(store, 'holdfast.lock'))
  refuseLocks('No locks available')
  await expect(openLevelStore(store)).rejects.toMatchObject({ code: 'store_unavailable' })
  expect(await readdir(join(store, 'holdfast.lock'))).toEqual(before)
  expect(before.length).toBeGreaterThan(1)
})

describe.each(['Resource temporarily unavailable', 'already held by process'])('where the lock is taken ("%s")', (reason) => {
  it('another process is named', async () => {
    const dir = await tempDir()
    refuseLocks(reason)
    const said = { message: expect.stringContaining('has it open') as string }
    await expect(openLevelStore(join(dir, 'store'))).rejects.toMatchObject({ code: 'store_not_drained', ...said })
    await expect(openLevelCatalog(join(dir, 'catalog'))).rejects.toMatchObject({ code: 'catalog_unavailable', ...said, details: { isInUse: true } })
  })
})

describe('on a file system that cannot sync directories', () => {
  it('a store says that LevelDB needs that', async () => {
    const files: Files = { ...nodeFiles, syncDirectory: (path) => Promise.reject(systemError('EINVAL', 'fsync', path)) }
    const said = { code: 'store_unavailable', hint: expect.stringContaining('that can sync directories') as string }
    await expect(openLevelStore(join(await tempDir(), 'store'), { files })).rejects.toMatchObject(said)
  })
})

describe('on a full disk', () => {
  it('a store and a catalog say which disk to free, and not that another process is in the way', async () => {
    const dir = await tempDir()
    const spy = vi.spyOn(ClassicLevel.prototype as unknown as { _open: () => Promise<void> }, '_open')
    spy.mockImplementation(() => Promise.reject(new Error('IO error: x/MANIFEST-000001: No space left on device')))
    onTestFinished(() => spy.mockRestore())
    const said = { message: expect.stringContaining('No space left on device') as string, hint: 'Free space on that file system, then try again' }
    await expect(openLevelStore(join(dir, 'store'))).rejects.toMatchObject({ code: 'destination_no_space', ...said })
    await expect(LevelMetadataStore.open(new ClassicLevel(join(dir, 'plain')), { kind: 'level' })).rejects.toMatchObject({ code: 'destination_no_space', message: said.message })
    await expect(openLevelCatalog(join(dir, 'catalog'))).rejects.toMatchObject({ code: 'catalog_unavailable', ...said })
  })
})
