/** Backups and restores hold what they need, on real stores. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { SnapshotSink } from '../../src/contracts/backupable.ts'
import { deleteBackup } from '../../src/repository/delete-backups.ts'
import { runBackup } from '../../src/backup/run-backup.ts'
import { verifyBackup } from '../../src/repository/verify-backup.ts'
import type { Lease } from '../../src/contracts/hold-events.ts'
import { Leases } from '../../src/gc/leases/leases.ts'
import { sweepPayloads } from '../../src/gc/sweep/sweep-payloads.ts'
import { restoreBackup } from '../../src/restore/restore-backup.ts'
import { rollback } from '../../src/restore/rollback.ts'
import { type LevelStore, openLevelStore } from '../../src/stores/level/index.ts'
import { openMemoryStore } from '../../src/stores/memory/index.ts'
import { altered } from '../support/altered.ts'
import { collect } from '../support/collect.ts'
import { FakeStore } from '../support/fake-store.ts'
import { tempDir } from '../support/temp-dir.ts'
import { newHolds } from './holds.ts'
import { PayloadMap } from './payload-map.ts'

/** Creates a file in the first share, which is made when there is none. */
async function addFile(store: LevelStore, name: string, payloadId: string): Promise<void> {
  const share = (await store.share('s')) ?? (await store.createShare('s'))
  await store.create({ parent: share.root, name }, { type: 'file', size: 1, content: { payloadId } })
}

async function removeFile(store: LevelStore, name: string): Promise<void> {
  await store.unlink({ parent: (await store.share('s'))?.root ?? 0, name })
}

describe('runBackup()', () => {
  test('has its lease before the snapshot, narrows it before anything is published, and releases it when the backup is recorded', async () => {
    const { holds, catalog, destination } = await newHolds()
    const seen: Record<string, readonly Lease[]> = {}
    const store = FakeStore.of(3)
    const watched = altered(store, {
      backup: async (sink: SnapshotSink, options) => {
        seen['snapshot'] = await catalog.leases()
        return await store.backup(sink, options)
      },
    })
    const slow = altered(destination, {
      put: async (backupId, options) => {
        const upload = await destination.put(backupId, options)
        return altered(upload, {
          publish: async (manifest) => {
            seen['publish'] = await catalog.leases()
            await upload.publish(manifest)
            seen['published'] = await catalog.leases()
          },
        })
      },
    })
    const { manifest } = await runBackup({ store: watched, destination: slow, catalog, holds })
    expect(seen['snapshot']).toMatchObject([{ purpose: 'backup', storeId: 'fake-store', payloadIds: undefined }])
    const { count, bytes, sha256 } = manifest.payloadIds
    expect(seen['publish']).toMatchObject([{ payloadIds: { count, bytes, sha256 } }])
    expect(seen['published']).toHaveLength(1)
    expect(await catalog.leases()).toEqual([])
  })

  test('takes a lease with a catalog alone, which holds everything to the end', async () => {
    const { catalog, destination } = await newHolds()
    const leases: (readonly Lease[])[] = []
    const watched = altered(destination, {
      manifest: async (backupId, options) => {
        leases.push(await catalog.leases())
        return await destination.manifest(backupId, options)
      },
    })
    await runBackup({ store: FakeStore.of(3), destination: watched, catalog })
    expect(leases[0]).toMatchObject([{ payloadIds: undefined }])
    expect(await catalog.leases()).toEqual([])
  })

  test('releases its lease when it fails', async () => {
    const { holds, catalog, destination } = await newHolds()
    const store = altered(FakeStore.of(3), { backup: () => Promise.reject(new Error('Cannot be read')) })
    await expect(runBackup({ store, destination, catalog, holds })).rejects.toThrow('Cannot be read')
    expect(await catalog.leases()).toEqual([])
  })

  test('keeps its lease when its publish failed, which may yet arrive', async () => {
    const { holds, catalog, destination } = await newHolds()
    const broken = altered(destination, {
      put: async (backupId, options) => altered(await destination.put(backupId, options), { publish: () => Promise.reject(new Error('The answer was lost')) }),
    })
    await expect(runBackup({ store: FakeStore.of(3), destination: broken, catalog, holds })).rejects.toThrow('The answer was lost')
    expect(await catalog.leases()).toMatchObject([{ payloadIds: { count: 3 } }])
    expect(await holds.leases.reconcile()).toMatchObject({ suspected: [{ purpose: 'backup' }] })
  })

  test('does not open its snapshot when a sweep does not answer', async () => {
    const { catalog, destination } = await newHolds()
    const holds = (await newHolds()).holds
    const leases = new Leases({ catalog, acknowledgeTimeoutMs: 0, pause: async () => {} })
    await leases.beginSweep()
    const store = altered(FakeStore.of(3), { backup: () => expect.fail('read') })
    await expect(runBackup({ store, destination, catalog, holds: altered(holds, { leases }) })).rejects.toMatchObject({ code: 'hold_unavailable' })
    expect(await collect(catalog.jobs())).toMatchObject([{ state: 'failed', error: { code: 'hold_unavailable' } }])
    expect(await collect(destination.list())).toEqual([])
  })

  test('publishes nothing when a payload is missing and must be there, and names the first twenty', async () => {
    const { catalog, destination } = await newHolds()
    const payloads = new PayloadMap(Array.from({ length: 1500 }, (_, index) => `p${index}`))
    await expect(runBackup({ store: FakeStore.of(1530), destination, catalog, payloads })).rejects.toMatchObject({
      code: 'payload_missing',
      details: { count: 30, payloadIds: Array.from({ length: 20 }, (_, index) => `p${1500 + index}`) },
    })
    expect(await collect(destination.list())).toEqual([])
    expect((await runBackup({ store: FakeStore.of(1500), destination, catalog, payloads })).manifest.payloadIds.count).toBe(1500)
  })
})

test('verifyBackup() at level payloads says what is missing, and records it', async () => {
  const { catalog, destination } = await newHolds()
  const payloads = new PayloadMap(['p0', 'p1'])
  const { backupId } = await runBackup({ store: FakeStore.of(2), destination, catalog })
  await verifyBackup({ destination, backupId, catalog, level: 'payloads', payloads })
  payloads.payloads.delete('p1')
  await expect(verifyBackup({ destination, backupId, catalog, level: 'payloads', payloads })).rejects.toMatchObject({ code: 'payload_missing', details: { count: 1, payloadIds: ['p1'] } })
  expect((await catalog.backup(backupId, destination.url))?.verification).toMatchObject({ level: 'payloads', error: { code: 'payload_missing' } })
  await expect(verifyBackup({ destination, backupId, level: 'payloads' })).rejects.toThrow(TypeError)
})

describe.each([
  ['memory', () => openMemoryStore()],
  ['level', async () => await openLevelStore(join(await tempDir(), 'store'))],
])('a %s store', (_, open) => {
  test('what only the store of before refers to is kept for rollback; what only the restored one does is held until it is live', async () => {
    await using store = await open()
    const { holds, catalog, destination } = await newHolds()
    const payloads = new PayloadMap(['garbage', 'old', 'new'])
    await addFile(store, 'old', 'old')
    const { backupId } = await runBackup({ store, destination, catalog, holds })
    await removeFile(store, 'old')
    await addFile(store, 'new', 'new')
    const sweep = (): Promise<unknown> => sweepPayloads({ payloads, stores: [store], holds, minAgeMs: 0 })
    const watched = altered(destination, {
      open: async function* (id, object, options) {
        await expect(deleteBackup({ destination, backupId, catalog, force: true })).rejects.toMatchObject({ code: 'backup_protected' })
        expect(await sweep()).toMatchObject({ heldOff: [{ purpose: 'restore' }] })
        yield* destination.open(id, object, options)
      },
    })
    await restoreBackup({ target: store, destination: watched, backupId, holds })
    await deleteBackup({ destination, backupId, catalog, force: true })
    await sweep()
    expect(payloads.ids).toEqual(['new', 'old'])
    await rollback({ target: store })
    expect(await collect(store.payloadIds())).toEqual(['new'])
    await sweep()
    expect(payloads.ids).toEqual(['new', 'old'])
  })

  test('a rollback while it is asked what it refers to loses nothing', async () => {
    await using store = await open()
    const { holds, catalog, destination } = await newHolds()
    for (let index = 0; index < 300; index++) await addFile(store, `a${index}`, `a${String(index).padStart(3, '0')}`)
    const { backupId } = await runBackup({ store, destination, catalog, holds })
    for (let index = 0; index < 300; index++) {
      await removeFile(store, `a${index}`)
      await addFile(store, `b${index}`, `b${String(index).padStart(3, '0')}`)
    }
    await restoreBackup({ target: store, destination, backupId, holds })
    const found: string[] = []
    for await (const payloadId of store.retainedPayloadIds?.() ?? []) {
      found.push(payloadId)
      if (found.length === 10) await rollback({ target: store })
    }
    expect(found).toHaveLength(600)
    expect(await collect(store.payloadIds())).toHaveLength(300)
  })
})
