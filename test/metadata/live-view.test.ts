import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { fsDestination } from '../../destinations/fs/index.ts'
import { restoreBackup } from '../../src/restore/restore-backup.ts'
import { type LevelStore, openLevelStore } from '../../src/stores/level/index.ts'
import { openMemoryStore } from '../../src/stores/memory/index.ts'
import { dumpStore } from '../support/dump-store.ts'
import { fillStore } from '../support/fill-store.ts'
import { tempDir } from '../support/temp-dir.ts'
import { publish, takeBackup } from '../restore/publish.ts'

const KINDS: readonly (readonly [kind: string, make: (path: string) => Promise<LevelStore>])[] = [
  ['memory', () => openMemoryStore()],
  ['level', (path) => openLevelStore(path)],
]

describe.each(KINDS)('a live %s store', (kind, make) => {
  it('gives a view that goes on over two swaps, and whose engine is closed and removable with it', async () => {
    const path = join(await tempDir(), 'store')
    const store = await make(path)
    onTestFinished(() => store.close())
    const destination = fsDestination({ path: join(await tempDir(), 'backups') })
    const backupId = await publish(destination, await takeBackup(store))
    await fillStore(store)
    const before = await dumpStore(store)
    const view = await store.view()
    const { live: viewed } = await store.engines()
    await restoreBackup({ target: store, destination, backupId })
    expect(await store.shares()).toEqual([])
    expect(await dumpStore(view)).toEqual(before)
    const { warnings } = await restoreBackup({ target: store, destination, backupId })
    expect(await dumpStore(view)).toEqual(before)
    expect((await store.engines()).leftovers).toEqual([viewed])
    expect(warnings.map(({ message }) => message).join()).toContain('a backup, a view or a sweep still reads it')
    await view.close()
    await view.close()
    await expect(view.shares()).rejects.toMatchObject({ code: 'store_unavailable' })
    await store.removeEngine(viewed ?? '')
    expect((await store.engines()).leftovers).toEqual([])
    if (kind === 'level') expect(await readdir(join(path, 'engines'))).not.toContain(viewed)
  })

  it('ends its views with itself: what they are asked then is refused', async () => {
    const store = await make(join(await tempDir(), 'store'))
    await fillStore(store)
    const view = await store.view()
    await store.close()
    await expect(view.settings()).rejects.toMatchObject({ code: 'store_unavailable' })
    await expect(store.view()).rejects.toMatchObject({ code: 'store_unavailable' })
    await view.close()
  })

  it('refuses an import while it is drained of writes', async () => {
    const store = await make(join(await tempDir(), 'store'))
    onTestFinished(() => store.close())
    await using other = await openMemoryStore()
    await using view = await other.view()
    await store.drainWrites({ timeoutMs: 1000 })
    await expect(store.importView(view)).rejects.toMatchObject({ code: 'restore_in_progress' })
    await store.resume()
    await store.importView(view)
  })
})
