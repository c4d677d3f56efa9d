/** Processes that share a destination or a store, one of which is frozen or killed in the middle. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { fsDestination } from '../../destinations/fs/index.ts'
import { deleteBackup } from '../../src/repository/delete-backups.ts'
import { runBackup } from '../../src/backup/run-backup.ts'
import { verifyBackup } from '../../src/repository/verify-backup.ts'
import { restoreBackup } from '../../src/restore/restore-backup.ts'
import { openLevelHome, openLevelStore } from '../../src/stores/level/index.ts'
import { newPlace } from '../backup/backups.ts'
import { publish, takeBackup } from '../restore/publish.ts'
import { dump, fillStore } from '../restore/trees.ts'
import { type Child, startChild } from '../support/child.ts'
import { collect } from '../support/collect.ts'
import { FakeStore } from '../support/fake-store.ts'
import { tempDir } from '../support/temp-dir.ts'

const ACTOR = new URL('./actor.js', import.meta.url.replace('/test/', '/dist/test/'))
const BACKUP_ID = '01HZZZZZZZ0000000000000002'
const LONG_AGO = { graceMs: 0, nowMs: Date.now() + 10 ** 9 }
/** Recovery takes seconds at most; the rest is for a machine that is busy with other things. */
const RECOVERY_LIMIT_MS = 30_000

function start(...args: string[]): Child {
  const child = startChild(ACTOR, args)
  onTestFinished(() => child.kill())
  return child
}

/** A closed store, and a backup from before its last change. */
async function closedStore(): Promise<{ path: string; backups: string; backupId: string; backedUp: string; now: string }> {
  const root = await tempDir()
  const [path, backups] = [join(root, 'store'), join(root, 'backups')]
  await using store = await openLevelStore(path)
  await fillStore(store, { seed: 1, files: 8 })
  const backedUp = await dump(store)
  const backupId = await publish(fsDestination({ path: backups }), await takeBackup(store))
  await store.setSetting('changed', 'since')
  return { path, backups, backupId, backedUp, now: await dump(store) }
}

describe.skipIf(process.platform !== 'linux')('an upload whose process is frozen', () => {
  test.each(['sync', 'rename', 'syncDirectory'])('at its %s and swept meanwhile publishes nothing when it goes on, and leaves nothing', async (call) => {
    const path = await tempDir()
    const child = start('publish', path, BACKUP_ID, call)
    await child.frozen()
    const destination = fsDestination({ path })
    const { removed } = await destination.cleanUp(LONG_AGO)
    expect(removed).toEqual([`${BACKUP_ID}.tmp`])
    child.thaw()
    // The directory that it wrote to has gone, or is no longer under the name it knows.
    expect(await child.line()).toMatch(/^destination_/)
    expect(await collect(destination.list())).toEqual([])
    expect(await readdir(path)).toEqual([])
  })

  test('while another publishes under its ID does not commit a second time: the first stays, whole', async () => {
    const path = await tempDir()
    const child = start('publish', path, BACKUP_ID, 'rename')
    await child.frozen()
    const destination = fsDestination({ path })
    await destination.cleanUp(LONG_AGO)
    const upload = await destination.put(BACKUP_ID)
    await upload.write('payload', Buffer.from('mine'))
    await upload.publish(Buffer.from('{"by":"me"}'))
    child.thaw()
    expect(await child.line()).toMatch(/^(destination_|duplicate_backup_id)/)
    expect(await collect(destination.list())).toEqual([BACKUP_ID])
    expect(String(await destination.manifest(BACKUP_ID))).toBe('{"by":"me"}')
    expect(String(await readFile(join(path, BACKUP_ID, 'payload')))).toBe('mine')
  })
})

describe.skipIf(process.platform !== 'linux')('a store whose process is frozen', () => {
  test('is not restored by another: store_not_drained, and it goes on when it is thawed', async () => {
    const { path, backups, backupId, now, backedUp } = await closedStore()
    const child = start('hold', path)
    await child.frozen()
    const inUse = { code: 'store_not_drained', retryable: true }
    await expect(openLevelStore(path)).rejects.toMatchObject(inUse)
    await expect(openLevelHome(path)).rejects.toMatchObject(inUse)
    child.thaw()
    expect(await child.line()).toBe('done')
    await child.ended
    await using store = await openLevelStore(path, { create: false })
    expect(await store.setting('after')).toBe('the thaw')
    await store.setSetting('after', undefined)
    expect(await dump(store)).toBe(now)
    await restoreBackup({ target: store, destination: fsDestination({ path: backups }), backupId })
    expect(await dump(store)).toBe(backedUp)
  })
})

describe('a restore whose process dies under a writer that never ends', () => {
  // Killed at each write in between it is elsewhere; these steps wait for the writer.
  test.each(['drain-writes', 'drain', 'check-live', 'resume'])('as its step %s begins leaves the old store or the new one, whole and soon in service, and nothing else', async (step) => {
    const { path, backups, backupId, backedUp, now } = await closedStore()
    const child = start('restore', path, backups, backupId, step)
    expect(await child.ended).toBe('SIGKILL')
    const startedAt = performance.now()
    await using store = await openLevelStore(path, { create: false })
    expect(performance.now() - startedAt).toBeLessThan(RECOVERY_LIMIT_MS)
    // What the writer wrote last is not what this is about.
    await store.setSetting('tick', undefined)
    const isSwapped = ['check-live', 'clear-journal', 'resume'].includes(step)
    expect(await dump(store)).toBe(isSwapped ? backedUp : now)
    expect((await store.engines()).leftovers).toEqual([])
    expect(await readdir(join(path, 'engines'))).toHaveLength(isSwapped ? 2 : 1)
    await store.setSetting('goes', 'on')
  })
})

test('backups, deletes and clean-ups of one destination at once leave whole backups only, and all of those that were not deleted', async () => {
  const { destination, catalog } = await newPlace()
  const backUp = async (): Promise<string> => (await runBackup({ store: FakeStore.of(50), destination, catalog })).backupId
  const first = [await backUp(), await backUp(), await backUp()]
  const jobs = first.map(async (backupId) => {
    const [made] = await Promise.all([backUp(), deleteBackup({ destination, catalog, backupId, force: true }), destination.cleanUp()])
    return made
  })
  const made = await Promise.all(jobs)
  expect(await collect(destination.list())).toEqual(made.toSorted())
  for (const backupId of made) await verifyBackup({ destination, backupId })
})
