/**
 * What is acknowledged after a write to a LevelDB has failed: nothing, until it was closed and opened again. Everything is counted after a
 * reopening, for LevelDB itself reads what it will have lost by then.
 */
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import { fsDestination } from '../../../destinations/fs/index.ts'
import { jobIdOf, restoreBackup, runBackup } from '../../../src/index.ts'
import { openLevelCatalog } from '../../../src/catalog/level/index.ts'
import type { MetadataStore } from '../../../src/contracts/metadata-store.ts'
import { levelBackupable, openLevelStore } from '../../../src/stores/level/index.ts'
import { SECTIONS } from '../../../src/stores/level/store/keys.ts'
import { SCHEMA_VERSION } from '../../../src/stores/level/store/records.ts'
import { startChild } from '../../support/child.ts'
import { dumpStore } from '../../support/dump-store.ts'
import { canLimitFileSize, limitFileSize, limitLog } from '../../support/file-size-limit.ts'
import { LEDGERS, type Ledger } from '../../support/ledgers.ts'
import { runs, seed } from '../../support/seed.ts'
import { chunksOf, collect } from '../../support/streams.ts'
import { canMount, emptyDisk, fillDisk, smallDisk } from '../../support/small-disk.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { takeBackup } from '../../restore/publish.ts'

const CHILD = new URL('../../../dist/test/stores/level/ledger-child.js', import.meta.url)
/** Within the header of a record, its content, and at and after the end of a block of LevelDB's log (32 KiB). */
const CUTS: readonly number[] = [0, 3, 7, 60, 4096, 20_000, 32_768, 39_990]

/** The IDs of the puts that were acknowledged, and what the others failed with. */
async function putMany(ledger: Ledger, sizes: readonly number[]): Promise<{ readonly acknowledged: string[]; readonly failures: unknown[] }> {
  const acknowledged: string[] = []
  const failures: unknown[] = []
  for (const put of await Promise.allSettled(sizes.map((bytes) => ledger.put(bytes)))) {
    if (put.status === 'fulfilled') acknowledged.push(put.value)
    else failures.push(put.reason)
  }
  return { acknowledged, failures }
}

async function idsAt(open: (path: string) => Promise<Ledger>, path: string): Promise<readonly string[]> {
  const ledger = await open(path)
  try {
    return await ledger.ids()
  } finally {
    await ledger.close()
  }
}

function refusal(code: string): object {
  const reopen = expect.stringContaining('close and open') as string
  return { code, retryable: false, message: expect.stringContaining('an earlier write failed') as string, hint: reopen, details: expect.not.objectContaining({ outcome: 'unknown' }) as object }
}

afterEach(() => {
  if (canLimitFileSize) limitFileSize('unlimited')
})

describe.each(Object.entries(LEDGERS))('%s', (code, open) => {
  it.skipIf(!canMount)('refuses all writes after one found the disk full, goes on to be read, and has lost nothing when it is opened again', async () => {
    const path = join(await smallDisk('size=3m'), 'ledger')
    const ledger = await open(path)
    const { acknowledged } = await putMany(ledger, [10, 1000, 50_000])
    fillDisk(join(path, '..'), 100_000)
    const failed: unknown[] = []
    while (failed.length < 10) {
      const put = await putMany(ledger, [20_000])
      acknowledged.push(...put.acknowledged)
      failed.push(...put.failures)
    }
    expect(failed[0]).toMatchObject({ code: code === 'store_unavailable' ? 'destination_no_space' : code, details: { outcome: 'unknown' }, message: expect.stringContaining('No space left on device') })
    emptyDisk(join(path, '..'))
    const after = await putMany(ledger, [10, 1000, 50_000, 10, 10])
    expect([...failed.slice(1), ...after.failures]).toMatchObject(Array(14).fill(refusal(code)))
    expect(await ledger.ids()).toEqual(expect.arrayContaining(acknowledged))
    await ledger.close()
    const reopened = await open(path)
    expect(await reopened.ids()).toEqual(expect.arrayContaining([...acknowledged, ...after.acknowledged]))
    const more = await putMany(reopened, [10, 1000, 50_000])
    expect(more.failures).toEqual([])
    await reopened.close()
    expect(await idsAt(open, path)).toEqual(expect.arrayContaining([...acknowledged, ...more.acknowledged]))
  })

  it.skipIf(!canLimitFileSize).each(CUTS)('refuses all writes after one was cut off after %d bytes, whichever it was, and has lost nothing when it is opened again', async (cut) => {
    for (const before of [1, 2, 5]) {
      const path = join(await tempDir(), 'ledger')
      const ledger = await open(path)
      const { acknowledged } = await putMany(ledger, Array<number>(before).fill(300))
      limitLog(path, cut)
      // One batch for all of them in a store, one after another in a catalog.
      const cutOff = await putMany(ledger, [40_000, 10, 10])
      limitFileSize('unlimited')
      expect(cutOff.failures[0]).toMatchObject({ code, details: { outcome: 'unknown' }, message: expect.stringContaining('File too large') })
      const after = await putMany(ledger, [10, 40_000, 10])
      expect(after.failures).toMatchObject(Array(3).fill(refusal(code)))
      const all = [...acknowledged, ...cutOff.acknowledged, ...after.acknowledged]
      expect(await ledger.ids()).toEqual(expect.arrayContaining(all))
      await ledger.close()
      expect(await idsAt(open, path)).toEqual(expect.arrayContaining(all))
    }
  })

  it.skipIf(!canLimitFileSize)(`has lost nothing of what was acknowledged when its process is killed, whatever failed before (seed ${seed})`, async () => {
    const path = join(await tempDir(), 'ledger')
    const printed: string[] = []
    for (let round = 0; round < runs(40); round++) {
      const child = startChild(CHILD, [code, path, String(seed + round)])
      onTestFinished(() => child.kill())
      const until = printed.length + 1 + ((seed + 37 * round) % 60)
      while (printed.length < until) printed.push(await child.line())
      await child.kill()
      for (let line = await child.line().catch(() => ''); line.length === 26; line = await child.line().catch(() => '')) printed.push(line)
      const ids = new Set(await idsAt(open, path))
      expect(printed.filter((id) => !ids.has(id)), `round ${round}`).toEqual([])
    }
  })
})

/** How any database takes the records of a metadata store. */
const RECORDS = { payloadIds: () => [], sections: SECTIONS, schemaVersion: SCHEMA_VERSION, storeKind: 'level' } as const

/** A store with some megabytes in it, more than the limits below let through. */
async function largeStore(): Promise<MetadataStore> {
  const store = await openLevelStore(join(await tempDir(), 'large'))
  onTestFinished(() => store.close())
  const { root } = await store.createShare('share')
  const xattrs = new Map([['user.note', Buffer.alloc(20_000, 'x')]])
  await Promise.all(Array.from({ length: 100 }, (_, at) => store.create({ parent: root, name: `file-${at}` }, { type: 'file', xattrs })))
  return store
}

describe.skipIf(!canLimitFileSize)('a write that fails', () => {
  it.each([false, true])('in a restore or an import leaves the store empty, when it is opened again too, and ready to be filled (multithreading: %s)', async (multithreading) => {
    const large = await largeStore()
    const { payload } = await takeBackup(large)
    for (const fill of [(store: MetadataStore) => store.restore(chunksOf(payload)), async (store: MetadataStore) => store.importView(await large.view())]) {
      const path = join(await tempDir(), 'store')
      const store = await openLevelStore(path, { multithreading })
      const empty = await dumpStore(store)
      limitFileSize(1_000_000)
      await expect(fill(store)).rejects.toMatchObject({ code: 'store_unavailable', message: expect.not.stringContaining('cannot be emptied') })
      limitFileSize('unlimited')
      expect(await dumpStore(store)).toEqual(empty)
      await store.close()
      const reopened = await openLevelStore(path, { multithreading })
      onTestFinished(() => reopened.close())
      expect(await dumpStore(reopened)).toEqual(empty)
      await fill(reopened)
      expect(await dumpStore(reopened)).toEqual(await dumpStore(large))
    }
  })

  it('keeps a sweep from being told what the store refers to, until the store was opened again', async () => {
    const path = join(await tempDir(), 'store')
    const store = await openLevelStore(path)
    const { root } = await store.createShare('share')
    const { inode } = await store.create({ parent: root, name: 'file' }, { type: 'file', content: { payloadId: 'old' } })
    limitLog(path, 30)
    await expect(store.setContent(inode, { payloadId: 'new' }, { size: 1 })).rejects.toMatchObject({ details: { outcome: 'unknown' } })
    limitFileSize('unlimited')
    await expect(collect(store.payloadIds())).rejects.toMatchObject({ code: 'store_unavailable' })
    const view = await store.view()
    expect(await collect(view.payloadIds())).toEqual(['old'])
    await view.close()
    await store.close()
    const reopened = await openLevelStore(path)
    onTestFinished(() => reopened.close())
    expect(await collect(reopened.payloadIds())).toEqual([(await reopened.inode(inode))?.payloadId])
  })

  it('in a restore leaves a database of the caller empty too', async () => {
    const { payload } = await takeBackup(await largeStore())
    const db = new ClassicLevel(join(await tempDir(), 'db'))
    onTestFinished(() => db.close())
    await db.open()
    const target = levelBackupable(db, RECORDS)
    limitFileSize(1_000_000)
    await expect(target.restore(chunksOf(payload))).rejects.toMatchObject({ code: 'store_unavailable' })
    limitFileSize('unlimited')
    await db.close()
    await db.open()
    expect(await db.keys().all()).toEqual([])
    await target.restore(chunksOf(payload))
  })

  it('in a restore into a sublevel does not close the database, which has more in it: it says that records stayed, and refuses the next restore', async () => {
    const { payload } = await takeBackup(await largeStore())
    const db = new ClassicLevel(join(await tempDir(), 'db'))
    onTestFinished(() => db.close())
    await db.put('other', 'x')
    const targets = ['a', 'b'].map((name) => levelBackupable(db.sublevel(name), RECORDS))
    limitFileSize(1_000_000)
    await expect(targets[0]?.restore(chunksOf(payload))).rejects.toMatchObject({ code: 'store_unavailable', message: expect.stringContaining('cannot be emptied again') })
    limitFileSize('unlimited')
    expect([db.status, await db.get('other')]).toEqual(['open', 'x'])
    await expect(targets[1]?.restore(chunksOf(payload))).rejects.toMatchObject(refusal('store_unavailable'))
    await db.close()
    await db.open()
    await levelBackupable(db.sublevel('c'), RECORDS).restore(chunksOf(payload))
  })

  it('does not outlast a restore that swaps another engine in', async () => {
    const directory = await tempDir()
    const path = join(directory, 'store')
    const store = await openLevelStore(path)
    await store.setSetting('a', 'before')
    const destination = fsDestination({ path: join(directory, 'backups') })
    onTestFinished(() => destination.close())
    const { backupId } = await runBackup({ store, destination })
    limitLog(path, 10)
    await expect(store.setSetting('a', 'failed')).rejects.toMatchObject({ code: 'store_unavailable' })
    limitFileSize('unlimited')
    await restoreBackup({ target: store, destination, backupId })
    await store.setSetting('b', 'after')
    await store.close()
    const reopened = await openLevelStore(path)
    onTestFinished(() => reopened.close())
    expect(await reopened.settings()).toEqual(new Map([['a', 'before'], ['b', 'after']]))
  })

  it('of the progress of a backup keeps its end from being recorded: the catalog has it as interrupted, and its lease still holds', async () => {
    const directory = await tempDir()
    const store = await openLevelStore(join(directory, 'store'))
    onTestFinished(() => store.close())
    const catalog = await openLevelCatalog(join(directory, 'catalog'))
    const owner = { host: 'host', pid: 1, bootId: 'boot', start: '1' }
    // More than the files of the backup have.
    await catalog.append({ type: 'sweep-started', at: '2026-11-20T10:00:00.000Z', sweepId: '01HZZZZZZZ0000000000000001', owner: { ...owner, host: 'x'.repeat(500_000) } })
    await catalog.append({ type: 'sweep-ended', at: '2026-11-20T10:00:00.000Z', sweepId: '01HZZZZZZZ0000000000000001' })
    const destination = fsDestination({ path: join(directory, 'backups') })
    onTestFinished(() => destination.close())
    const failure: unknown = await runBackup({
      store,
      destination,
      catalog,
      onProgress({ phase, bytes }) {
        if (phase === 'publish' && bytes === 0) limitLog(join(directory, 'catalog'), 50)
        if (phase === 'verify') limitFileSize('unlimited')
      },
    }).then(() => undefined, (error: unknown) => error)
    expect(failure).toMatchObject({ code: 'catalog_unavailable', details: { isPublished: true, isVerified: true }, message: expect.stringContaining('an earlier write failed') })
    await catalog.close()
    const reopened = await openLevelCatalog(join(directory, 'catalog'))
    onTestFinished(() => reopened.close())
    expect(await reopened.job(jobIdOf(failure) ?? '')).toMatchObject({ state: 'interrupted' })
    expect(await reopened.leases()).toHaveLength(1)
  })
})
