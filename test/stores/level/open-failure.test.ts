/** What keeps a LevelDB from being opened: others have it, or its file system lacks something. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { openLevelCatalog } from '../../../src/catalog/level/index.ts'
import { LevelMetadataStore, openLevelStore } from '../../../src/stores/level/index.ts'
import { nodeFiles, systemError } from '../../../src/util/files.ts'
import { tempDir } from '../../support/temp-dir.ts'

function refuseToOpen(failure: Error): void {
  const spy = vi.spyOn(ClassicLevel.prototype as unknown as { _open: () => Promise<void> }, '_open').mockImplementation(() => Promise.reject(failure))
  onTestFinished(() => spy.mockRestore())
}

/** Makes LevelDB fail to take its lock, as the system's error says. */
function refuseLocks(reason: string): void {
  refuseToOpen(Object.assign(new Error(`IO error: lock x/LOCK: ${reason}`), { code: 'LEVEL_LOCKED' }))
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

describe.each([['EINVAL', 'Invalid argument'], ['ENOTSUP', 'Operation not supported']])('on a file system that cannot sync directories (%s)', (code, reason) => {
  const said = { hint: 'LevelDB needs a file system that can sync directories: use a directory on a local disk', retryable: false }

  it('a new store and a new catalog say that LevelDB needs that', async () => {
    const dir = await tempDir()
    const spy = vi.spyOn(nodeFiles, 'syncDirectory').mockImplementation((path) => Promise.reject(systemError(code, 'fsync', path)))
    onTestFinished(() => spy.mockRestore())
    await expect(openLevelStore(join(dir, 'store'))).rejects.toMatchObject({ code: 'store_unavailable', ...said })
    await expect(openLevelCatalog(join(dir, 'catalog'))).rejects.toMatchObject({ code: 'catalog_unavailable', ...said })
  })

  it('so they do where LevelDB itself is the first to sync one; an error of another file is not taken for that', async () => {
    const dir = await tempDir()
    const open = async (name: string): Promise<readonly unknown[]> => await Promise.all([
      openLevelStore(dir), LevelMetadataStore.open(new ClassicLevel(join(dir, name)), { kind: 'level' }), openLevelCatalog(join(dir, 'catalog')),
    ].map((opening) => opening.then(() => undefined, ({ hint }: { readonly hint: string }) => hint)))
    refuseToOpen(new Error(`IO error: ${dir}/holdfast.lock: ${reason}`))
    expect(await open('a')).toEqual([said.hint, said.hint, said.hint])
    refuseToOpen(new Error(`IO error: ${dir}/000005.ldb: ${reason}`))
    expect(await open('b')).not.toContain(said.hint)
  })
})

it('a catalog in a directory that the process may not make names that', async () => {
  const spy = vi.spyOn(nodeFiles, 'syncDirectory').mockImplementation((path) => Promise.reject(systemError('EACCES', 'open', path)))
  onTestFinished(() => spy.mockRestore())
  const said = { code: 'catalog_unavailable', hint: 'Give the process permission to use that path', retryable: true }
  await expect(openLevelCatalog(join(await tempDir(), 'catalog'))).rejects.toMatchObject(said)
})

describe('on a full disk', () => {
  it('a store and a catalog say which disk to free, and not that another process is in the way', async () => {
    const dir = await tempDir()
    refuseToOpen(new Error('IO error: x/MANIFEST-000001: No space left on device'))
    const said = { message: expect.stringContaining('No space left on device') as string, hint: 'Free space on that file system, then try again' }
    await expect(openLevelStore(join(dir, 'store'))).rejects.toMatchObject({ code: 'destination_no_space', ...said })
    await expect(LevelMetadataStore.open(new ClassicLevel(join(dir, 'plain')), { kind: 'level' })).rejects.toMatchObject({ code: 'destination_no_space', message: said.message })
    await expect(openLevelCatalog(join(dir, 'catalog'))).rejects.toMatchObject({ code: 'catalog_unavailable', ...said })
  })
})
