import { join } from 'node:path'
import { MemoryLevel } from 'memory-level'
import { describe, expect, it, onTestFinished } from 'vitest'
import { fsDestination } from '../../destinations/fs/index.ts'
import { newUlid } from '../../src/util/ulid.ts'
import type { Catalog, Job } from '../../src/contracts/catalog.ts'
import type { Destination } from '../../src/contracts/destination.ts'
import { CatalogUnavailableError } from '../../src/errors/errors.ts'
import { jobIdOf, type StartedJob } from '../../src/catalog/run-job.ts'
import { planRestore } from '../../src/restore/plan-restore.ts'
import { restoreBackup } from '../../src/restore/restore-backup.ts'
import { rollback } from '../../src/restore/rollback.ts'
import { levelCatalog } from '../../src/catalog/level/index.ts'
import type { LevelStore } from '../../src/stores/level/index.ts'
import { openMemoryStore } from '../../src/stores/memory/index.ts'
import { openRepository } from '../../src/repository/repository.ts'
import { altered } from '../support/altered.ts'
import { beside } from '../support/beside.ts'
import { tempDir } from '../support/temp-dir.ts'
import { publish, takeBackup } from './publish.ts'
import { dump, fillStore } from './trees.ts'

interface Setting {
  readonly target: LevelStore
  readonly destination: Destination
  readonly backupId: string
  readonly catalog: Catalog
  /** What the store held when it was backed up. */
  readonly original: string
}

async function setUp(): Promise<Setting> {
  const target = await openMemoryStore()
  const catalog = await levelCatalog(new MemoryLevel())
  const destination = fsDestination({ path: join(await tempDir(), 'backups') })
  onTestFinished(async () => {
    await target.close()
    await catalog.close()
    await destination.close()
  })
  await fillStore(target, { seed: 1 })
  const original = await dump(target)
  const backupId = await publish(destination, await takeBackup(target))
  await target.setSetting('since', 'then')
  return beside({ target, destination, backupId, catalog }, { original })
}

async function jobsOf(catalog: Catalog): Promise<readonly Job[]> {
  const jobs: Job[] = []
  for await (const job of catalog.jobs()) jobs.push(job)
  return jobs
}

/** A catalog that does not take the events of one type. */
function refusing(catalog: Catalog, type: 'job-started' | 'job-ended'): Catalog {
  return {
    async append(...events) {
      if (events.some((event) => event.type === type)) throw new CatalogUnavailableError('Cannot write the catalog: the disk is full')
      await catalog.append(...events)
    },
    jobs: (options) => catalog.jobs(options),
    job: (jobId) => catalog.job(jobId),
    backups: () => catalog.backups(),
    backup: (backupId, destination) => catalog.backup(backupId, destination),
    leases: () => catalog.leases(),
    sweeps: () => catalog.sweeps(),
    holdGeneration: () => catalog.holdGeneration(),
    close: () => catalog.close(),
    [Symbol.asyncDispose]: () => catalog.close(),
  }
}

describe('a restore with a catalog', () => {
  it('is a job that succeeded, and so is its rollback', async () => {
    const { catalog, ...setting } = await setUp()
    const { backupId, destination, target } = setting
    const { bytes } = await restoreBackup({ ...setting, catalog })
    await rollback({ target, catalog })
    const store = { storeKind: 'memory', storeId: target.storeId, state: 'succeeded', error: undefined, endedAt: expect.any(String) }
    expect(await jobsOf(catalog)).toMatchObject([
      { kind: 'rollback', ...store },
      { kind: 'restore', ...store, backupId, destination: destination.url, progress: { phase: 'resume', bytes } },
    ])
  })

  it('that fails is a job that failed, with the code', async () => {
    const { catalog, ...setting } = await setUp()
    await expect(restoreBackup({ ...setting, backupId: newUlid(), catalog })).rejects.toMatchObject({ code: 'manifest_missing' })
    await expect(rollback({ target: setting.target, catalog })).rejects.toMatchObject({ code: 'rollback_unavailable' })
    expect(await jobsOf(catalog)).toMatchObject([
      { kind: 'rollback', state: 'failed', error: { code: 'rollback_unavailable' } },
      { kind: 'restore', state: 'failed', error: { code: 'manifest_missing' } },
    ])
  })

  it('that is cancelled is a job that was interrupted, whatever the reason, which is the cause', async () => {
    const { catalog, ...setting } = await setUp()
    const controller = new AbortController()
    const reason = new Error('no longer wanted')
    const restoring = restoreBackup({ ...setting, catalog, signal: controller.signal, onProgress: ({ step }) => step === 'check' && controller.abort(reason) })
    const error: unknown = await restoring.catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'backup_aborted', message: 'The restore was cancelled', cause: reason })
    const [job] = await jobsOf(catalog)
    expect(job).toMatchObject({ kind: 'restore', state: 'interrupted', error: { code: 'backup_aborted' } })
    expect(jobIdOf(error)).toBe(job?.jobId)
  })

  it('tells its ID once its row is durable and before anything else happens, and its report and its rejection carry that', async () => {
    const { catalog, target, ...setting } = await setUp()
    const told: StartedJob[] = []
    const states: Promise<Job | undefined>[] = []
    const onJob = (job: StartedJob): void => {
      told.push(job)
      states.push(catalog.job(job.jobId))
    }
    const steps: string[] = []
    const { jobId } = await restoreBackup({ ...setting, target, catalog, onJob: (job) => (onJob(job), void steps.push('job')), onProgress: ({ step }) => steps.push(step) })
    expect(steps.slice(0, 2)).toEqual(['job', 'prepare'])
    const rolledBack = await rollback({ target, catalog, onJob })
    const failed: unknown = await restoreBackup({ ...setting, backupId: newUlid(), target, catalog, onJob }).catch((error: unknown) => error)
    const unrecorded = await rollback({ target, onJob })
    expect(told.map((job) => job.jobId)).toEqual([jobId, rolledBack.jobId, jobIdOf(failed), unrecorded.jobId])
    expect(told[0]).toMatchObject({ kind: 'restore', storeKind: 'memory', storeId: target.storeId, backupId: setting.backupId, destination: setting.destination.url })
    expect(await Promise.all(states)).toMatchObject([{ state: 'running' }, { state: 'running' }, { state: 'running' }, undefined] as object[])
  })

  it('makes no job of a call that is refused: a malformed ID, a signal that was aborted before, a second restore at a time', async () => {
    const { catalog, ...setting } = await setUp()
    await expect(restoreBackup({ ...setting, backupId: '../x', catalog })).rejects.toMatchObject({ code: 'invalid_argument' })
    await expect(restoreBackup({ ...setting, catalog, signal: AbortSignal.abort('before') })).rejects.toMatchObject({ code: 'backup_aborted', cause: 'before' })
    const first = restoreBackup({ ...setting, catalog })
    await expect(restoreBackup({ ...setting, catalog })).rejects.toMatchObject({ code: 'restore_in_progress' })
    await first
    expect((await jobsOf(catalog)).map(({ state }) => state)).toEqual(['succeeded'])
  })

  it.each(['job-started', 'job-ended'] as const)('is done all the same, with a warning, when the catalog does not take %s', async (type) => {
    const { catalog, original, ...setting } = await setUp()
    const { warnings } = await restoreBackup({ ...setting, catalog: refusing(catalog, type) })
    expect(warnings).toMatchObject([{ code: 'catalog_unavailable', message: expect.stringContaining('the disk is full') }])
    expect(await dump(setting.target)).toBe(original)
    expect((await rollback({ target: setting.target, catalog: refusing(catalog, type) })).warnings).toMatchObject([{ code: 'catalog_unavailable' }])
  })

  it('that fails says so with its own code when that cannot be recorded', async () => {
    const { catalog, ...setting } = await setUp()
    const restoring = restoreBackup({ ...setting, backupId: newUlid(), catalog: refusing(catalog, 'job-ended') })
    await expect(restoring).rejects.toMatchObject({ code: 'manifest_missing', message: expect.stringContaining('could not be recorded') })
  })

  it('refuses a backup that is not as the catalog recorded it, with nothing changed, unless told to restore it as it is', async () => {
    const { target, destination, backupId, catalog, original } = await setUp()
    const recorded = (await openRepository(destination).open(backupId)).recordedAt(new Date().toISOString(), 'backup')
    await catalog.append({ ...recorded, manifestSha256: 'f'.repeat(64) })
    const before = await dump(target)
    await expect(restoreBackup({ target, destination, backupId, catalog })).rejects.toMatchObject({ code: 'backup_altered', details: { expected: 'f'.repeat(64), actual: recorded.manifestSha256 } })
    expect(await dump(target)).toBe(before)
    expect(await jobsOf(catalog)).toMatchObject([{ state: 'failed', error: { code: 'backup_altered' } }])
    await restoreBackup({ target, destination, backupId, catalog, allowAltered: true })
    expect(await dump(target)).toBe(original)
  })

  it('refuses a plan that says other values than the catalog recorded, or another ID of the store, with nothing changed', async () => {
    const { target, destination, backupId, catalog } = await setUp()
    await catalog.append((await openRepository(destination).open(backupId)).recordedAt(new Date().toISOString(), 'backup'))
    const plan = await planRestore({ target, destination, backupId, catalog })
    const before = await dump(target)
    const payload = { ...plan.manifest.payload, sha256: '0'.repeat(64) }
    const forged = { ...plan, manifest: { ...plan.manifest, payload, objects: { ...plan.manifest.objects, payload } } }
    await expect(restoreBackup({ target, destination, catalog, plan: forged })).rejects.toMatchObject({ code: 'backup_altered', details: { fields: expect.arrayContaining(['payload']) as string[] } })
    await expect(restoreBackup({ target, destination, catalog, plan: { ...plan, storeId: 'another' } })).rejects.toMatchObject({ code: 'invalid_argument' })
    expect(await dump(target)).toBe(before)
    await restoreBackup({ target, destination, catalog, plan })
  })

  it('is done all the same when the catalog cannot be asked what it recorded', async () => {
    const { target, destination, backupId, catalog, original } = await setUp()
    const unreadable = altered(catalog, { backup: () => Promise.reject(new CatalogUnavailableError('Cannot read the catalog')) })
    await restoreBackup({ target, destination, backupId, catalog: unreadable })
    expect(await dump(target)).toBe(original)
  })
})
