import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { StartedJob } from '../../src/catalog/run-job.ts'
import { newUlid } from '../../src/util/ulid.ts'
import { deleteBackup } from '../../src/repository/delete-backups.ts'
import { openRepository } from '../../src/repository/repository.ts'
import { runBackup } from '../../src/backup/run-backup.ts'
import { verifyBackup } from '../../src/repository/verify-backup.ts'
import { DestinationUnreachableError } from '../../src/errors/errors.ts'
import { altered } from '../support/altered.ts'
import { collect } from '../support/collect.ts'
import { FakeStore } from '../support/fake-store.ts'
import { flipped, newPlace, tamper, type Place } from '../backup/backups.ts'

async function withBackups(count: number): Promise<Place & { readonly ids: readonly string[] }> {
  const place = await newPlace()
  const ids: string[] = []
  for (let at = 0; at < count; at++) ids.push((await runBackup({ store: FakeStore.of(5), destination: place.destination, catalog: place.catalog })).backupId)
  return { ...place, ids }
}

const PROTECTED = { code: 'backup_protected' }

describe('deleteBackup()', () => {
  test('deletes a backup and records it', async () => {
    const { destination, catalog, ids } = await withBackups(2)
    const [backupId = '', kept = ''] = ids
    expect(await deleteBackup({ destination, catalog, backupId })).toEqual({ jobId: expect.any(String) as string, backupId, wasListed: true, warnings: [] })
    expect(await collect(destination.list())).toEqual([kept])
    expect((await catalog.backup(backupId, destination.url))?.deletedAt).toBeDefined()
    expect(await collect(catalog.jobs({ limit: 1 }))).toMatchObject([{ kind: 'delete', state: 'succeeded', backupId, storeId: 'fake-store' }])
    expect(await deleteBackup({ destination, catalog, backupId })).toEqual({ jobId: expect.any(String) as string, backupId, wasListed: false, warnings: [] })
    await deleteBackup({ destination, backupId: newUlid() })
  })

  test('warns of progress that the catalog could not record, and deletes all the same', async () => {
    const { destination, catalog, ids } = await withBackups(3)
    const failing = altered(catalog, {
      append: (event) => (event.type === 'job-progressed' ? Promise.reject(new Error('disk on strike')) : catalog.append(event)),
    })
    const reports = await openRepository(destination, { catalog: failing }).delete(ids.slice(0, 2))
    expect(reports.map(({ warnings }) => warnings.map(({ message }) => message))).toEqual([[], [expect.stringContaining('disk on strike')]])
    expect(await collect(destination.list())).toEqual(ids.slice(2))
  })

  test('refuses the last good backup of a store, unless forced', async () => {
    const { destination, catalog, ids } = await withBackups(1)
    const [backupId = ''] = ids
    await runBackup({ store: FakeStore.of(1, { storeId: 'other' }), destination, catalog })
    await expect(deleteBackup({ destination, catalog, backupId })).rejects.toMatchObject(PROTECTED)
    await expect(deleteBackup({ destination, backupId })).rejects.toMatchObject(PROTECTED)
    expect(await collect(destination.list())).toContain(backupId)
    expect((await collect(catalog.jobs())).filter(({ kind }) => kind === 'delete')).toMatchObject([{ state: 'failed', backupId, error: { code: 'backup_protected' } }])
    expect(await deleteBackup({ destination, catalog, backupId, force: true })).toMatchObject({ wasListed: true })
  })

  test('refuses a backup of which a newer release recorded more, unless forced', async () => {
    const { destination, catalog, ids } = await withBackups(2)
    const [backupId = ''] = ids
    const recorded = altered(catalog, { backup: async (...place) => ({ ...(await catalog.backup(...place))!, hasNewerEvents: true }) })
    await expect(deleteBackup({ destination, catalog: recorded, backupId })).rejects.toMatchObject({ ...PROTECTED, message: expect.stringContaining('newer release') as unknown })
    expect(await collect(destination.list())).toEqual(ids)
    expect(await deleteBackup({ destination, catalog: recorded, backupId, force: true })).toMatchObject({ wasListed: true })
  })

  test('a damaged backup does not count as another good one, and may be deleted itself', async () => {
    const { destination, catalog, path, ids } = await withBackups(4)
    const [noManifest = '', noPayload = '', unverified = '', good = ''] = ids
    tamper(join(path, noManifest, 'manifest.json'), (bytes) => bytes.subarray(1))
    rmSync(join(path, noPayload, 'payload'))
    tamper(join(path, unverified, 'payload'), (bytes) => flipped(bytes, 1000))
    await expect(verifyBackup({ destination, catalog, backupId: unverified })).rejects.toMatchObject({ code: 'restore_corrupt' })
    await expect(deleteBackup({ destination, catalog, backupId: good })).rejects.toMatchObject(PROTECTED)
    for (const backupId of [noManifest, noPayload, unverified]) expect(await deleteBackup({ destination, catalog, backupId })).toMatchObject({ wasListed: true })
    expect(await collect(destination.list())).toEqual([good])
  })

  test('tells what was deleted before one of several could not be', async () => {
    const { destination, catalog, ids } = await withBackups(4)
    const [first = '', second = '', third = '', kept = ''] = ids
    const failing = altered(destination, { delete: async (backupId: string) => {
      if (backupId === third) throw new DestinationUnreachableError('The disk is gone')
      await destination.delete(backupId)
    } })
    const failure = openRepository(failing, { catalog }).delete([first, second, third])
    await expect(failure).rejects.toMatchObject({ code: 'destination_unreachable', details: { deleted: [first, second] }, jobId: expect.any(String) as string })
    expect(await collect(destination.list())).toEqual([third, kept])
  })

  test('refuses a backup of a newer release, unless forced', async () => {
    const { destination, path, ids } = await withBackups(2)
    const [backupId = '', other = ''] = ids
    tamper(join(path, backupId, 'manifest.json'), (bytes) => Buffer.from(bytes.toString().replace('"manifestVersion": 1', '"manifestVersion": 2')))
    await expect(deleteBackup({ destination, backupId })).rejects.toMatchObject({ code: 'manifest_version_unsupported' })
    await expect(deleteBackup({ destination, backupId: other })).rejects.toMatchObject(PROTECTED)
    expect(await deleteBackup({ destination, backupId, force: true })).toMatchObject({ wasListed: true })
  })

  test('deletes many by one list, which decides for all whether a good one is left', async () => {
    const { destination, catalog, ids } = await withBackups(4)
    const other = await runBackup({ store: FakeStore.of(1, { storeId: 'other' }), destination, catalog })
    let lists = 0
    const watched = altered(destination, {
      list: (options) => {
        lists += 1
        return destination.list(options)
      },
    })
    const repository = openRepository(watched, { catalog })
    await expect(repository.delete(ids)).rejects.toMatchObject({ ...PROTECTED, details: { backupId: ids[3], storeId: 'fake-store' } })
    await expect(repository.delete([...ids.slice(0, 3), other.backupId])).rejects.toMatchObject({ ...PROTECTED, details: { backupId: other.backupId, storeId: 'other' } })
    expect(await collect(destination.list())).toHaveLength(5)
    lists = 0
    const unlisted = newUlid()
    const deleted = [...ids.slice(0, 3), ids[0] ?? '']
    const reports = await repository.delete([...deleted, unlisted])
    expect(reports.map(({ backupId, wasListed }) => [backupId, wasListed])).toEqual([...ids.slice(0, 3).map((backupId) => [backupId, true]), [unlisted, false]])
    expect(new Set(reports.map(({ jobId }) => jobId)).size).toBe(1)
    expect(lists).toBe(1)
    expect(await collect(destination.list())).toEqual([ids[3], other.backupId])
    const jobs = (await collect(catalog.jobs())).filter(({ kind }) => kind === 'delete')
    expect(jobs.map(({ state }) => state)).toEqual(['succeeded', 'failed', 'failed'])
    expect(await repository.delete([])).toEqual([])
  })

  test('deletes none of many when one of them is being taken, or is newer', async () => {
    const { destination, catalog, path, ids } = await withBackups(3)
    const [first = '', second = ''] = ids
    await catalog.append({ type: 'lease-taken', at: new Date().toISOString(), leaseId: newUlid(), purpose: 'restore', owner: { host: 'elsewhere', pid: 1, bootId: 'b', start: 's' }, backupId: second })
    const repository = openRepository(destination, { catalog })
    await expect(repository.delete([first, second])).rejects.toMatchObject(PROTECTED)
    tamper(join(path, second, 'manifest.json'), (bytes) => Buffer.from(bytes.toString().replace('"manifestVersion": 1', '"manifestVersion": 3')))
    await expect(openRepository(destination).delete([first, second])).rejects.toMatchObject({ code: 'manifest_version_unsupported' })
    expect(await collect(destination.list())).toEqual(ids)
  })

  test('a destination that fails leaves a failed job, and the next call finishes', async () => {
    const { destination, catalog, ids } = await withBackups(2)
    const [backupId = ''] = ids
    const broken = altered(destination, { delete: () => Promise.reject(new DestinationUnreachableError('Out of reach')) })
    await expect(deleteBackup({ destination: broken, catalog, backupId })).rejects.toMatchObject({ code: 'destination_unreachable' })
    expect(await collect(catalog.jobs({ limit: 1 }))).toMatchObject([{ kind: 'delete', state: 'failed', error: { code: 'destination_unreachable' } }])
    await deleteBackup({ destination, catalog, backupId })
    expect((await catalog.backup(backupId, destination.url))?.deletedAt).toBeDefined()
  })

  test('gives its job before it looks at a backup, and an abort ends it after the deletion that has begun', async () => {
    const { destination, catalog, ids } = await withBackups(4)
    const [first = '', second = '', ...kept] = ids
    const controller = new AbortController()
    const seen: string[] = []
    const watched = altered(destination, {
      manifest: (backupId: string, options?: object) => {
        seen.push('manifest')
        return destination.manifest(backupId, options)
      },
      delete: async (backupId: string) => {
        controller.abort('enough')
        await destination.delete(backupId)
      },
    })
    const onJob = ({ kind, jobId }: StartedJob): void => void seen.push(kind, jobId)
    const failure = await openRepository(watched, { catalog }).delete([first, second], { signal: controller.signal, onJob }).catch((error: unknown) => error)
    expect(failure).toMatchObject({ code: 'backup_aborted', details: { deleted: [first] }, jobId: seen[1], hint: expect.stringContaining('stays deleted') as string })
    expect(seen.slice(0, 3)).toEqual(['delete', seen[1], 'manifest'])
    expect(await collect(destination.list())).toEqual([second, ...kept])
    expect(await collect(catalog.jobs({ limit: 1 }))).toMatchObject([{ jobId: seen[1], kind: 'delete', state: 'interrupted' }])
  })

  test('refuses a malformed ID, and ends with its signal', async () => {
    const { destination, ids } = await withBackups(2)
    await expect(deleteBackup({ destination, backupId: '../x' })).rejects.toMatchObject({ code: 'invalid_argument' })
    await expect(deleteBackup({ destination, backupId: ids[0] ?? '', signal: AbortSignal.abort('no') })).rejects.toMatchObject({ code: 'backup_aborted', cause: 'no' })
    expect(await collect(destination.list())).toEqual(ids)
  })
})
