/** Events as fast-check makes them up, and some fixed ones. */
import * as fc from 'fast-check'
import { type BackupEvent, type CatalogEvent, JOB_KINDS, type JobEvent, type JobStarted, VERIFICATION_LEVELS } from '../../src/contracts/catalog.ts'
import { ERROR_CODES } from '../../src/errors/errors.ts'
import { LEASE_ENDS, LEASE_PURPOSES, type LeaseEvent, type SweepEvent } from '../../src/contracts/hold-events.ts'
import type { JobOwner } from '../../src/util/job-owner.ts'
import type { Manifest } from '../../src/contracts/manifest.ts'

export const AT = '2026-11-20T10:00:00.000Z'
export const JOB = '01HZZZZZZZ0000000000000001'
export const BACKUP = '01HZZZZZZZ0000000000000002'
export const OWNER: JobOwner = { host: 'host', pid: 1, bootId: 'boot', start: '1' }

export function started(jobId: string = JOB, change: Partial<JobStarted> = {}): JobStarted {
  return { type: 'job-started', at: AT, jobId, kind: 'backup', owner: OWNER, ...change }
}

export function manifestOf(backupId: string = BACKUP): Manifest {
  return {
    manifestVersion: 1,
    backupId,
    createdAt: AT,
    storeId: 'store',
    storeKind: 'fake',
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
}

const id = fc.constantFrom(...[1, 2, 3].map((last) => `01HZZZZZZZ000000000000000${last}`))
const at = fc.date({ noInvalidDate: true }).map((date) => date.toISOString())
const text = fc.string({ unit: 'grapheme', maxLength: 20 })
const destination = fc.constantFrom('file:/a', 'file:/b/é')
const count = fc.maxSafeNat()
const maybe = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arbitrary, { nil: undefined })
const error = fc.record({ code: fc.constantFrom(...ERROR_CODES), message: text, hint: text })
const owner = fc.record({ host: text, pid: count, bootId: text, start: text })

export const jobEvent: fc.Arbitrary<JobEvent> = fc.oneof(
  fc.record({
    type: fc.constant('job-started' as const),
    at,
    jobId: id,
    kind: fc.constantFrom(...JOB_KINDS),
    owner,
    storeKind: maybe(text),
    storeId: maybe(text),
    destination: maybe(destination),
    backupId: maybe(id),
  }),
  fc.record({ type: fc.constant('job-progressed' as const), at, jobId: id, phase: text, bytes: count, records: count, storeId: maybe(text), backupId: maybe(id) }),
  fc.record({ type: fc.constant('job-ended' as const), at, jobId: id, state: fc.constantFrom('succeeded' as const, 'failed' as const, 'interrupted' as const), error: maybe(error) }),
)

export const backupEvent: fc.Arbitrary<BackupEvent> = fc.oneof(
  fc
    .record({ type: fc.constant('backup-recorded' as const), at, backupId: id, destination, how: fc.constantFrom('backup' as const, 'rebuild' as const) })
    .map((event) => ({ ...event, manifest: manifestOf(event.backupId) })),
  fc.record({ type: fc.constant('backup-verified' as const), at, backupId: id, destination, level: fc.constantFrom(...VERIFICATION_LEVELS), error: maybe(error) }),
  fc.record({ type: fc.constantFrom('backup-deletion-started' as const, 'backup-deleted' as const), at, backupId: id, destination }),
)

const leaseId = id
const sweepId = id
const payloadIds = fc.record({ count, bytes: count, sha256: fc.constantFrom('a'.repeat(64), '0123456789abcdef'.repeat(4)) })

export const holdEvent: fc.Arbitrary<LeaseEvent | SweepEvent> = fc.oneof(
  fc.record({ type: fc.constant('lease-taken' as const), at, leaseId, purpose: fc.constantFrom(...LEASE_PURPOSES), owner, storeId: maybe(text), backupId: maybe(id) }),
  fc.record({ type: fc.constant('lease-narrowed' as const), at, leaseId, payloadIds }),
  fc.record({ type: fc.constant('lease-suspected' as const), at, leaseId, epoch: text, steadyMs: count }),
  fc.record({ type: fc.constant('lease-released' as const), at, leaseId, why: fc.constantFrom(...LEASE_ENDS) }),
  fc.record({ type: fc.constant('sweep-started' as const), at, sweepId, owner }),
  fc.record({ type: fc.constant('sweep-acknowledged' as const), at, sweepId, generation: count }),
  fc.record({ type: fc.constant('sweep-ended' as const), at, sweepId }),
)

export const catalogEvent: fc.Arbitrary<CatalogEvent> = fc.oneof(jobEvent, backupEvent, holdEvent)
