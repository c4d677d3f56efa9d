/** What every `Catalog` must do, for any test runner. */
import { deepEqual, equal, rejects } from 'node:assert/strict'
import type { BackupRecorded, Catalog, CatalogBackup, CatalogEvent, Job, JobStarted, Verification } from '../../src/contracts/catalog.ts'
import type { Manifest } from '../../src/contracts/manifest.ts'
import { registerTest, type TestRunner } from './runner.ts'

/** A fresh, empty catalog of the test's own. */
export interface CatalogFixture {
  readonly catalog: Catalog
  /** Closes the catalog, and opens it again, as the next process does. */
  readonly reopen: () => Promise<Catalog>
  readonly cleanup: () => Promise<void>
}

export interface CatalogConformanceOptions {
  readonly name: string
  readonly runner: TestRunner
  /** Called once per test. */
  readonly factory: () => Promise<CatalogFixture>
  /** What the catalog can do beyond the least. */
  readonly supports?:
    | {
        /** What was appended is there when the catalog was closed. @default true */
        readonly reopen?: boolean | undefined
      }
    | undefined
}

const AT = '2026-11-20T10:00:00.000Z'
const LATER = '2026-11-21T10:00:00.000Z'
const JOB = '01HZZZZZZZ0000000000000001'
const BACKUP = '01HZZZZZZZ0000000000000002'
/** A process that has ended: no system has this ID. */
const OWNER = { host: 'host', pid: 2 ** 30, bootId: 'boot', start: '1' } as const
const MANIFEST: Manifest = {
  manifestVersion: 1,
  backupId: BACKUP,
  createdAt: AT,
  storeId: 'store',
  storeKind: 'any',
  schemaVersion: 1,
  payload: { bytes: 1, sha256: 'a'.repeat(64) },
  content: 'records',
  requires: [],
  payloadIds: { count: 2, bytes: 3, sha256: 'c'.repeat(64), set: 'c'.repeat(64) },
  records: { entries: 4 },
  encryption: null,
  compression: 'none',
  labels: {},
  holdfastVersion: '0.1.0',
}
const PLACE = { at: AT, backupId: BACKUP, destination: 'file:/a' } as const
const RECORDED: BackupRecorded = { type: 'backup-recorded', ...PLACE, manifest: MANIFEST, how: 'backup' }
const LEASE: CatalogEvent = { type: 'lease-taken', at: AT, leaseId: BACKUP, purpose: 'backup', owner: OWNER, storeId: 'store' }
const SWEEP: CatalogEvent = { type: 'sweep-started', at: AT, sweepId: JOB, owner: OWNER }

function started(jobId: string = JOB, change: Partial<JobStarted> = {}): JobStarted {
  return { type: 'job-started', at: AT, jobId, kind: 'backup', owner: OWNER, ...change }
}

/** Registers the whole suite with the runner. */
export function testCatalog({ name, runner, factory, supports = {} }: CatalogConformanceOptions): void {
  const test = (title: string, body: (fixture: CatalogFixture) => Promise<void>, isSupported?: boolean): void => {
    const run = async (): Promise<void> => {
      const fixture = await factory()
      try {
        await body(fixture)
      } finally {
        await fixture.cleanup()
      }
    }
    registerTest(runner, title, run, isSupported)
  }

  runner.describe(`catalog ${name}`, () => {
    test('an empty catalog has nothing', async ({ catalog }) => {
      deepEqual([await all(catalog.jobs()), await all(catalog.backups()), await catalog.leases(), await catalog.sweeps(), await catalog.holdGeneration()], [[], [], [], [], 0])
      deepEqual([await catalog.job(JOB), await catalog.backup(BACKUP, 'file:/a')], [undefined, undefined])
    })

    test('a job is what its events say', async ({ catalog }) => {
      await catalog.append(started(JOB, { storeKind: 'any', destination: 'file:/a' }))
      const job: Job = {
        jobId: JOB,
        kind: 'backup',
        state: 'running',
        owner: OWNER,
        storeKind: 'any',
        storeId: undefined,
        destination: 'file:/a',
        backupId: undefined,
        startedAt: AT,
        endedAt: undefined,
        progress: undefined,
        error: undefined,
      }
      deepEqual(await catalog.job(JOB), job)
      await catalog.append({ type: 'job-progressed', at: AT, jobId: JOB, phase: 'snapshot', bytes: 1, records: 2, backupId: BACKUP, storeId: 'store' })
      await catalog.append({ type: 'job-progressed', at: AT, jobId: JOB, phase: 'publish', bytes: 3, records: 4 })
      const progressed = { ...job, backupId: BACKUP, storeId: 'store', progress: { phase: 'publish', bytes: 3, records: 4 } }
      deepEqual(await catalog.job(JOB), progressed)
      const error = { code: 'internal', message: 'é "m"\n', hint: 'h' } as const
      await catalog.append({ type: 'job-ended', at: AT, jobId: JOB, state: 'failed', error })
      deepEqual(await all(catalog.jobs()), [{ ...progressed, state: 'failed', endedAt: AT, error }])
      equal(await catalog.job(BACKUP), undefined)
    })

    test('jobs() gives the newest first, and no more than asked for', async ({ catalog }) => {
      const ids = Array.from({ length: 250 }, (_, index) => `01HZZZZZZZ0000000000000${100 + index}`)
      for (const id of ids) await catalog.append(started(id), { type: 'job-ended', at: AT, jobId: id, state: 'succeeded' })
      deepEqual((await all(catalog.jobs())).map(({ jobId }) => jobId), ids.toReversed())
      deepEqual((await all(catalog.jobs({ limit: 2 }))).map(({ jobId }) => jobId), ids.slice(-2).toReversed())
      deepEqual(await all(catalog.jobs({ limit: 0 })), [])
    })

    test('a backup is what the events of its ID at its destination say', async ({ catalog }) => {
      await catalog.append(RECORDED, { ...RECORDED, destination: 'file:/b' })
      await catalog.append({ type: 'backup-verified', ...PLACE, level: 'restore' }, { type: 'backup-deleted', ...PLACE })
      const { at: _, ...place } = PLACE
      const backup: CatalogBackup = {
        ...place,
        manifest: MANIFEST,
        manifestSha256: undefined,
        recordedAt: AT,
        how: 'backup',
        verifiedAt: AT,
        verification: { level: 'restore', error: undefined },
        deletionStartedAt: undefined,
        deletedAt: AT,
      }
      deepEqual(plain(await catalog.backup(BACKUP, 'file:/a')), plain(backup))
      const other = { ...backup, destination: 'file:/b', verifiedAt: undefined, verification: undefined, deletedAt: undefined }
      deepEqual(plain(await catalog.backup(BACKUP, 'file:/b')), plain(other))
      equal(await catalog.backup(JOB, 'file:/a'), undefined)
      deepEqual(plain((await all(catalog.backups())).toSorted((left, right) => (left.destination < right.destination ? -1 : 1))), plain([backup, other]))
    })

    test('a verification clears only faults that it would find itself', async ({ catalog }) => {
      await catalog.append(RECORDED)
      const error = { code: 'internal', message: 'm', hint: 'h' } as const
      const levels = ['manifest', 'checksum', 'form', 'content', 'restore', 'payloads'] as const
      const cleared: Record<string, string> = {}
      for (const fault of levels) {
        for (const level of levels) {
          await catalog.append({ type: 'backup-verified', ...PLACE, level: fault, error }, { type: 'backup-verified', ...PLACE, at: LATER, level })
          const { verification, verifiedAt } = (await catalog.backup(BACKUP, 'file:/a')) ?? {}
          deepEqual(plain({ verification, verifiedAt }), plain(verification?.error === undefined ? { verification: { level }, verifiedAt: LATER } : { verification: { level: fault, error }, verifiedAt: AT }))
          if (verification?.error === undefined) cleared[fault] = `${cleared[fault] ?? ''} ${level}`.trim()
          await catalog.append(RECORDED)
        }
      }
      deepEqual(cleared, {
        manifest: 'manifest checksum form content restore payloads',
        checksum: 'checksum form content restore payloads',
        form: 'form content restore',
        content: 'content restore',
        restore: 'restore',
        payloads: 'payloads',
      })
    })

    test('a fault that a less thorough verification finds does not take the place of the one before', async ({ catalog }) => {
      const error = { code: 'internal', message: 'm', hint: 'h' } as const
      await catalog.append(RECORDED, { type: 'backup-verified', ...PLACE, level: 'restore', error })
      await catalog.append({ type: 'backup-verified', ...PLACE, at: LATER, level: 'checksum', error }, { type: 'backup-verified', ...PLACE, at: LATER, level: 'checksum' })
      deepEqual(plain((await catalog.backup(BACKUP, 'file:/a'))?.verification), plain({ level: 'restore', error }))
    })

    test('of two faults that no one level would find, each stays until it is cleared', async ({ catalog }) => {
      const error = { code: 'internal', message: 'm', hint: 'h' } as const
      const verified = async (level: 'restore' | 'payloads', found?: typeof error): Promise<Verification | undefined> => {
        await catalog.append({ type: 'backup-verified', ...PLACE, level, error: found })
        return (await catalog.backup(BACKUP, 'file:/a'))?.verification
      }
      for (const [one, other] of [['restore', 'payloads'], ['payloads', 'restore']] as const) {
        await catalog.append(RECORDED)
        deepEqual(plain(await verified(one, error)), plain({ level: one, error }))
        deepEqual(plain(await verified(other, error)), plain({ level: one, error }))
        deepEqual(plain(await verified(one)), plain({ level: other, error }))
        deepEqual(plain(await verified(other)), plain({ level: other }))
      }
    })

    test('append() keeps the order of calls that are made at once', async ({ catalog }) => {
      await catalog.append(started())
      await Promise.all(Array.from({ length: 50 }, (_, bytes) => catalog.append({ type: 'job-progressed', at: AT, jobId: JOB, phase: 'x', bytes, records: 0 })))
      equal((await catalog.job(JOB))?.progress?.bytes, 49)
    })

    test('leases and sweeps are there until they end, and holdGeneration() grows with what changes holds', async ({ catalog }) => {
      await catalog.append(LEASE, SWEEP)
      equal(await catalog.holdGeneration(), 1)
      const payloadIds = { count: 1, bytes: 2, sha256: 'b'.repeat(64) }
      await catalog.append({ type: 'lease-narrowed', at: AT, leaseId: BACKUP, payloadIds }, { type: 'sweep-acknowledged', at: AT, sweepId: JOB, generation: 2 })
      deepEqual((await catalog.leases()).map((lease) => [lease.leaseId, lease.payloadIds]), [[BACKUP, payloadIds]])
      deepEqual((await catalog.sweeps()).map(({ sweepId }) => sweepId), [JOB])
      await catalog.append(RECORDED, { type: 'lease-released', at: AT, leaseId: BACKUP, why: 'handed-over' }, { type: 'sweep-ended', at: AT, sweepId: JOB })
      deepEqual([await catalog.leases(), await catalog.sweeps(), await catalog.holdGeneration()], [[], [], 4])
    })

    test('close() may be called again, and every call after it fails with catalog_unavailable', async ({ catalog }) => {
      await catalog.append(started())
      await catalog.close()
      await catalog.close()
      for (const call of [catalog.append(started(BACKUP)), catalog.job(JOB), all(catalog.jobs()), all(catalog.backups()), catalog.leases(), catalog.holdGeneration()]) {
        await rejects(call, { code: 'catalog_unavailable' })
      }
    })

    const reopened = async ({ catalog, reopen }: CatalogFixture): Promise<void> => {
      await catalog.append(RECORDED, LEASE, SWEEP, started(JOB), started(BACKUP))
      await catalog.append({ type: 'job-ended', at: AT, jobId: BACKUP, state: 'succeeded' })
      const again = await reopen()
      deepEqual(plain((await all(again.backups())).map(({ backupId, manifest }) => [backupId, manifest])), plain([[BACKUP, MANIFEST]]))
      deepEqual([(await again.leases()).map(({ leaseId }) => leaseId), await again.sweeps(), await again.holdGeneration()], [[BACKUP], [], 2])
      deepEqual([(await again.job(JOB))?.state, (await again.job(BACKUP))?.state], ['interrupted', 'succeeded'])
    }
    test('the next process finds everything, but ends jobs and sweeps whose process is gone', reopened, supports.reopen ?? true)
  })
}

/** A value without its members that are undefined, which a catalog may leave out. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value))
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const result: T[] = []
  for await (const item of items) result.push(item)
  return result
}
