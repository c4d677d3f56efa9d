/** Disks that are full while LevelDB, a restore or a backup writes to them. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { fsDestination } from '../../../destinations/fs/index.ts'
import { runBackup } from '../../../src/backup/run-backup.ts'
import type { Destination } from '../../../src/contracts/destination.ts'
import type { MetadataStore } from '../../../src/contracts/metadata-store.ts'
import { restoreBackup } from '../../../src/restore/restore-backup.ts'
import { openLevelCatalog } from '../../../src/catalog/level/index.ts'
import { type LevelStore, openLevelStore } from '../../../src/stores/level/index.ts'
import { dump, fillStore } from '../../restore/trees.ts'
import { publish, takeBackup } from '../../restore/publish.ts'
import { canMount, emptyDisk, fillDisk, smallDisk } from '../../support/small-disk.ts'
import { tempDir } from '../../support/temp-dir.ts'

const NO_SPACE = { code: 'destination_no_space' }
const DESTINATION_FULL = {
  ...NO_SPACE,
  message: expect.stringMatching(/^Cannot (?:write|create) ".*\/backups\/.*": .*ENOSPC/) as string,
  hint: 'Free space at the destination or delete old backups, then try again',
}

async function storeAt(path: string): Promise<LevelStore> {
  const store = await openLevelStore(path)
  onTestFinished(() => store.close())
  return store
}

async function destinationAt(path: string): Promise<Destination> {
  const destination = fsDestination({ path })
  onTestFinished(() => destination.close())
  return destination
}

/** Some megabytes in a few thousand records. */
async function fillMuch(store: MetadataStore): Promise<void> {
  const { root } = await store.createShare('much')
  const xattrs = new Map([['user.note', Buffer.alloc(3000, 'x')]])
  await Promise.all(Array.from({ length: 1500 }, (_, index) => store.create({ parent: root, name: `file-${index}` }, { type: 'file', xattrs, content: { payloadId: `payload-${index}` } })))
}

async function filledUp(store: MetadataStore): Promise<{ readonly failure: unknown; readonly created: number }> {
  const { root } = await store.createShare('filling')
  for (let created = 0; ; created++) {
    try {
      await store.create({ parent: root, name: `file-${created}` }, { type: 'file', xattrs: new Map([['user.note', Buffer.alloc(20_000, 'x')]]) })
    } catch (failure) {
      return { failure, created }
    }
  }
}

describe.skipIf(!canMount)('a full disk', () => {
  it('ends a restore with destination_no_space, the live store as it was and in service, the side engine removed', async () => {
    const destination = await destinationAt(join(await tempDir(), 'backups'))
    const source = await storeAt(join(await tempDir(), 'store'))
    await fillMuch(source)
    const backupId = await publish(destination, await takeBackup(source))
    const disk = await smallDisk('size=24m')
    const store = await storeAt(join(disk, 'store'))
    await fillStore(store, { seed: 3 })
    const [before, engines] = [await dump(store), await store.engines()]
    const restoring = restoreBackup({
      target: store,
      destination,
      backupId,
      allowStoreId: true,
      onProgress: ({ step }) => {
        // After the space was measured, another process takes it.
        if (step === 'side-engine') fillDisk(disk, 1_000_000)
      },
    })
    await expect(restoring).rejects.toMatchObject({
      ...NO_SPACE, message: expect.stringContaining('No space left on device') as string, hint: 'Free space on that file system, then try again',
    })
    expect(await store.engines()).toEqual(engines)
    expect(await readdir(join(disk, 'store', 'engines'))).toEqual([engines.live])
    expect(await dump(store)).toBe(before)
    emptyDisk(disk)
    await store.setSetting('still', 'served')
    await restoreBackup({ target: store, destination, backupId, allowStoreId: true })
    expect(await dump(store)).toBe(await dump(source))
  })

  it('is found before a restore touches anything, which says what is needed and what is free', async () => {
    const destination = await destinationAt(join(await tempDir(), 'backups'))
    const source = await storeAt(join(await tempDir(), 'store'))
    await fillMuch(source)
    const backupId = await publish(destination, await takeBackup(source))
    const disk = await smallDisk('size=24m')
    const store = await storeAt(join(disk, 'store'))
    const engines = await store.engines()
    fillDisk(disk, 500_000)
    const failure = await restoreBackup({ target: store, destination, backupId, allowStoreId: true }).catch((error: unknown) => error)
    const message = expect.stringMatching(/has \d+ bytes free, and about \d+ are needed/) as string
    expect(failure).toMatchObject({ ...NO_SPACE, message, hint: 'Free space on the disk of the store, then try again' })
    expect(await store.engines()).toEqual(engines)
  })

  it('ends a backup with destination_no_space, nothing listed and nothing left, and its job as failed', async () => {
    const disk = await smallDisk('size=2m')
    const destination = await destinationAt(join(disk, 'backups'))
    const directory = await tempDir()
    const store = await storeAt(join(directory, 'store'))
    await fillMuch(store)
    const catalog = await openLevelCatalog(join(directory, 'catalog'))
    onTestFinished(() => catalog.close())
    await expect(runBackup({ store, destination, catalog })).rejects.toMatchObject(DESTINATION_FULL)
    expect(await readdir(join(disk, 'backups'))).toEqual([])
    for await (const job of catalog.jobs()) expect(job).toMatchObject({ state: 'failed' })
  })

  it('without a free inode ends a backup with destination_no_space, nothing listed', async () => {
    const disk = await smallDisk('size=8m,nr_inodes=5')
    const destination = await destinationAt(join(disk, 'backups'))
    const directory = await tempDir()
    const store = await storeAt(join(directory, 'store'))
    await fillStore(store, { seed: 1 })
    const catalog = await openLevelCatalog(join(directory, 'catalog'))
    onTestFinished(() => catalog.close())
    await expect(runBackup({ store, destination, catalog })).rejects.toMatchObject(DESTINATION_FULL)
    expect(await readdir(join(disk, 'backups'))).toEqual([])
  })

  it('refuses writes of a metadata store with a typed error, and the store is whole when there is space again', async () => {
    const disk = await smallDisk('size=12m')
    const path = join(disk, 'store')
    const store = await openLevelStore(path)
    onTestFinished(() => store.close())
    fillDisk(disk, 8_000_000)
    const { failure, created } = await filledUp(store)
    expect(failure).toMatchObject({
      ...NO_SPACE,
      message: expect.stringMatching(/^Cannot write the metadata store: .*No space left on device/) as string,
      hint: 'Free space or mend the disk, then close and open the store (restart the process): until then it can only be read',
      details: { outcome: 'unknown' },
    })
    expect(created).toBeGreaterThan(10)
    await store.close()
    fillDisk(disk)
    await expect(openLevelStore(path)).rejects.toMatchObject({ ...NO_SPACE, hint: expect.stringContaining('Free space') as unknown })
    emptyDisk(disk)
    const reopened = await openLevelStore(path)
    onTestFinished(() => reopened.close())
    const share = await reopened.share('filling')
    for (let index = 0; index < created; index++) {
      expect(await reopened.lookup({ parent: share?.root ?? 0, name: `file-${index}` }), `acknowledged file ${index} of ${created}`).toBeDefined()
    }
  })
})
