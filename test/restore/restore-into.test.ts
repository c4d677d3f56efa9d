import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { MemoryLevel } from 'memory-level'
import { describe, expect, test } from 'vitest'
import { runBackup } from '../../src/backup/run-backup.ts'
import { jobIdOf } from '../../src/catalog/run-job.ts'
import type { Backupable } from '../../src/contracts/backupable.ts'
import type { Lease } from '../../src/contracts/hold-events.ts'
import { RESTORE_INTO_STEPS, restoreInto } from '../../src/restore/restore-into.ts'
import { levelBackupable } from '../../src/stores/level/engine/level-backupable.ts'
import { flipped, newPlace, type Place, tamper } from '../backup/backups.ts'
import { altered } from '../support/altered.ts'
import { collect } from '../support/collect.ts'

const options = { storeId: 'my-server', payloadIds: (_key: string, value: string) => [value] }

/** A database of an embedder with a backup, which has so many records. */
async function backedUp(count: number): Promise<Place & { readonly backupId: string; readonly entries: readonly (readonly [string, string])[] }> {
  const place = await newPlace()
  const database = new MemoryLevel()
  const entries = Array.from({ length: count }, (_, at) => [`key-${String(at).padStart(5, '0')}`, `payload-${at}`] as const)
  await database.batch(entries.map(([key, value]) => ({ type: 'put', key, value })))
  const { backupId } = await runBackup({ store: levelBackupable(database, options), destination: place.destination, catalog: place.catalog })
  return { ...place, backupId, entries }
}

describe('restoreInto()', () => {
  test('fills an empty database, as a job under a lease, with progress and its total; and reads it again', async () => {
    const { destination, catalog, backupId, entries } = await backedUp(2500)
    const database = new MemoryLevel()
    const steps: string[] = []
    const totals = new Set<number>()
    let leases: readonly Lease[] = []
    const target = altered<Backupable>(levelBackupable(database, options), {
      restore: async (source, given) => {
        leases = await catalog.leases()
        await levelBackupable(database, options).restore(source, given)
      },
    })
    const report = await restoreInto({
      target, destination, catalog, backupId,
      onProgress: ({ step, bytes, totalBytes, records }) => {
        if (steps.at(-1) !== step) steps.push(step)
        if (records > 0) totals.add(totalBytes)
        expect(bytes).toBeLessThanOrEqual(totalBytes)
      },
    })
    expect(await database.iterator().all()).toEqual(entries)
    expect(steps).toEqual(RESTORE_INTO_STEPS)
    expect([...totals]).toEqual([report.bytes])
    expect(leases).toMatchObject([{ purpose: 'restore', backupId, payloadIds: undefined }])
    expect(await catalog.leases()).toEqual([])
    expect(report).toMatchObject({ backupId, storeId: 'my-server', records: { entries: 2500 }, payloadIds: { count: 2500 }, warnings: [] })
    const [job] = await collect(catalog.jobs({ limit: 1 }))
    expect(job).toMatchObject({ jobId: report.jobId, kind: 'restore', state: 'succeeded', storeKind: 'memory', storeId: 'my-server', backupId, progress: { records: 2500 } })
  })

  test('refuses a backup of another store unless that is allowed, a database with records, and an object that is not a target', async () => {
    const { destination, catalog, backupId } = await backedUp(1)
    const database = new MemoryLevel()
    const other = levelBackupable(database, { ...options, storeId: 'another' })
    await expect(restoreInto({ target: other, destination, backupId })).rejects.toMatchObject({ code: 'store_id_mismatch' })
    await restoreInto({ target: other, destination, backupId, allowStoreId: true })
    const refused = await restoreInto({ target: levelBackupable(database, options), destination, catalog, backupId }).catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'restore_destination_not_empty' })
    expect(await catalog.job(jobIdOf(refused) ?? '')).toMatchObject({ state: 'failed', error: { code: 'restore_destination_not_empty' } })
    expect(await database.iterator().all()).toHaveLength(1)
    await expect(restoreInto({ target: {} as Backupable, destination, backupId })).rejects.toMatchObject({ code: 'backup_unsupported' })
  })

  test('leaves the database empty when the backup is damaged, altered or gone', async () => {
    const { destination, catalog, backupId, path } = await backedUp(2500)
    const database = new MemoryLevel()
    const target = levelBackupable(database, options)
    tamper(join(path, backupId, 'manifest.json'), (bytes) => Buffer.from(bytes.toString().replace('"labels": {}', '"labels": {"a": "b"}')))
    await expect(restoreInto({ target, destination, catalog, backupId })).rejects.toMatchObject({ code: 'backup_altered' })
    tamper(join(path, backupId, 'payload'), (bytes) => flipped(bytes, (bytes.byteLength - 500) * 8))
    await expect(restoreInto({ target, destination, catalog, backupId, allowAltered: true })).rejects.toMatchObject({ code: 'restore_corrupt' })
    rmSync(join(path, backupId), { recursive: true })
    await expect(restoreInto({ target, destination, backupId })).rejects.toMatchObject({ code: 'manifest_missing' })
    expect(await database.iterator().all()).toEqual([])
  })

  test('says that what was restored is there when it is not what the backup has, and when the check is cancelled', async () => {
    const { destination, backupId } = await backedUp(3)
    for (const mistake of ['other', 'abort'] as const) {
      const database = new MemoryLevel()
      const whole = levelBackupable(database, options)
      const cancelling = new AbortController()
      const target = altered<Backupable>(whole, {
        restore: async (source, given) => {
          await whole.restore(source, given)
          if (mistake === 'other') await database.del('key-00001')
          else cancelling.abort()
        },
      })
      await expect(restoreInto({ target, destination, backupId, signal: cancelling.signal })).rejects.toMatchObject({
        code: mistake === 'other' ? 'checksum_mismatch' : 'backup_aborted',
        message: expect.stringContaining('what was restored is in the database') as unknown,
        hint: expect.stringContaining('Empty the database') as unknown,
      })
    }
  })
})
