/** What is told to a caller that uses a handle after it was closed: that, and not to look for a fault of its disk or its path. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { MemoryLevel } from 'memory-level'
import { afterAll, describe, expect, it } from 'vitest'
import { openLevelCatalog } from '../../src/catalog/level/index.ts'
import { fsDestination } from '../../destinations/fs/index.ts'
import { checkTree, deleteBackup, type MetadataStore, newBackupId, rebuildCatalog, runBackup, verifyBackup } from '../../src/index.ts'
import { levelBackupable, openLevelStore } from '../../src/stores/level/index.ts'
import { TextDatabase } from '../../src/stores/level/engine/text-database.ts'
import { openMemoryStore } from '../../src/stores/memory/index.ts'

const directory = mkdtempSync(join(tmpdir(), 'holdfast-closed-'))
const destination = fsDestination({ path: join(directory, 'backups') })
const hint = 'Use the handle before it is closed, or open another one'
const sink = { write: async () => {}, finish: async () => {} }

afterAll(() => rmSync(directory, { recursive: true, force: true }))

describe.each([
  ['Memory', () => openMemoryStore()],
  ['LevelDB', () => openLevelStore(join(directory, newBackupId()))],
])('a closed store in %s', (_name, open: () => Promise<MetadataStore & AsyncDisposable>) => {
  it.each<[string, (store: MetadataStore) => Promise<unknown>]>([
    ['reading', (store) => store.share('media')],
    ['a mutation', (store) => store.createShare('media')],
    ['a view', (store) => store.view()],
    ['a backup', (store) => store.backup(sink)],
    ['a backup at a destination', (store) => runBackup({ store, destination })],
    ['a check', (store) => checkTree(store)],
  ])('says so for %s', async (_what, use) => {
    const store = await open()
    await store.close()
    await expect(use(store)).rejects.toMatchObject({ code: 'store_unavailable', hint })
  })

  it('says so for a view of it that is still used, and so does a closed view', async () => {
    const store = await open()
    await store.createShare('media')
    const [closed, left] = [await store.view(), await store.view()]
    await closed.close()
    await expect(closed.share('media')).rejects.toMatchObject({ code: 'store_unavailable', hint })
    await store.close()
    await expect(left.share('media')).rejects.toMatchObject({ code: 'store_unavailable', hint })
  })
})

it.each([
  ['in LevelDB', () => new ClassicLevel(join(directory, newBackupId()))],
  ['in memory', () => new MemoryLevel()],
])('a database %s that is closed while a write is on its way says so', async (_what, make) => {
  const database = make()
  await database.open()
  const write = new TextDatabase(database).write(new Map([['key', 'value']]), { sync: false })
  const closed = database.close()
  await expect(write).rejects.toMatchObject({ code: 'store_unavailable', hint, cause: { code: 'LEVEL_BATCH_NOT_OPEN' } })
  await closed
})

describe('a closed catalog', () => {
  it.each<[string, (catalog: Awaited<ReturnType<typeof openLevelCatalog>>) => Promise<unknown>]>([
    ['reading', (catalog) => catalog.leases()],
    ['recording', (catalog) => catalog.append({ type: 'sweep-ended', at: new Date().toISOString(), sweepId: newBackupId() })],
    ['a backup', async (catalog) => runBackup({ store: await openMemoryStore(), destination, catalog })],
    ['a verification', async (catalog) => verifyBackup({ destination, backupId: (await runBackup({ store: await openMemoryStore(), destination })).backupId, catalog })],
    ['a deletion', (catalog) => deleteBackup({ destination, backupId: newBackupId(), catalog })],
    ['rebuilding it', (catalog) => rebuildCatalog({ catalog, destinations: [destination] })],
  ])('says so for %s', async (_what, use) => {
    const catalog = await openLevelCatalog(join(directory, newBackupId()))
    await catalog.close()
    await expect(use(catalog)).rejects.toMatchObject({ code: 'catalog_unavailable', hint, retryable: false })
  })
})

it.each([
  ['in LevelDB', () => new ClassicLevel(join(directory, newBackupId()))],
  ['in LevelDB that a worker reads', () => new ClassicLevel(join(directory, newBackupId()), { multithreading: true })],
  ['in memory', () => new MemoryLevel()],
])('a closed database of an embedder %s says so', async (_what, make) => {
  const database = make()
  await database.open()
  await database.close()
  await expect(runBackup({ store: levelBackupable(database, { payloadIds: () => [] }), destination })).rejects.toMatchObject({ code: 'store_unavailable', hint })
})
