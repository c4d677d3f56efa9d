/**
 * One attempt to change a store: alone on its handle, as a job, under a lease on all payloads. Restore, restore of a path and rollback are made of it.
 *
 * A catalog that fails is no reason to leave a store unrestored: it is warned of.
 */
import { cancelled, type JobHooks, runJob } from '../catalog/run-job.ts'
import { type NewJob, notRecorded } from '../catalog/job-log.ts'
import type { Catalog, JobProgress, JobProgressed } from '../contracts/catalog.ts'
import type { MetadataStore } from '../contracts/metadata-store.ts'
import type { Swappable } from '../contracts/swappable.ts'
import { toAborted } from '../errors/aborts.ts'
import { toError } from '../errors/error-message.ts'
import { CatalogUnavailableError, isHoldfastError } from '../errors/errors.ts'
import type { Holds } from '../gc/holds/holds.ts'
import { type HeldLease, Leases, releaseAfter, warnOfLease } from '../gc/leases/leases.ts'
import { runExclusively } from './run-exclusively.ts'

/** What the public options of all attempts have. */
export interface AttemptOptions extends JobHooks {
  /** Where the attempt is recorded. An attempt that cannot be recorded is made all the same: see `warnings`. @default nowhere */
  readonly catalog?: Catalog | undefined
  /**
   * What keeps payloads from being deleted until the store refers to them. @default a lease in the catalog, as far as that can be written to; without a
   * catalog nothing: then nothing may delete payloads meanwhile
   */
  readonly holds?: Holds | undefined
  /** The time in milliseconds since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined
}

/** What every report of an attempt has. */
export interface AttemptReport {
  readonly jobId: string
  /** What did not go as it should and does no harm. */
  readonly warnings: readonly Error[]
}

export interface Attempt<Report> {
  /** The handle that is changed. */
  readonly target: Swappable | MetadataStore
  readonly job: Pick<NewJob, 'storeKind' | 'destination' | 'backupId'> & { readonly kind: 'restore' | 'rollback' }
  /** The ID of the store; what is wrong with one that cannot tell it is for the work to find. */
  readonly readStoreId: () => Promise<string | undefined>
  readonly signal?: AbortSignal | undefined
  /** Does the work; the ID of the job is added to the report. */
  readonly run: () => Promise<Report>
  /** What the job says last. */
  readonly lastProgress: (report: Report) => JobProgress & Pick<JobProgressed, 'storeId'>
}

/**
 * Makes an attempt. The job ends as `succeeded`, `failed`, or, when the signal aborted, `interrupted`. Where its start or its success cannot be recorded, the
 * outcome stays what it is, and `warnings` has why; where a failure cannot be, the error says so.
 *
 * Rejects with `restore_in_progress` and, for a signal that was aborted before, `backup_aborted`, which are no attempt yet; with `hold_unavailable` when a running
 * sweep does not answer, and, where `holds` are given, `catalog_unavailable`; with `backup_aborted` when the signal ended it, and with what `run` rejects with.
 */
export async function attempt<Report extends { readonly warnings: readonly Error[] }>(
  { target, job, readStoreId, signal, run, lastProgress }: Attempt<Report>,
  options: AttemptOptions,
): Promise<Report & AttemptReport> {
  return await runExclusively(target, async () => {
    if (signal?.aborted === true) throw toAborted(signal.reason, signal, cancelled(job.kind))
    const storeId = await readStoreId().catch(() => undefined)
    const row = { ...job, storeId }
    return await runJob(row, { ...options, signal, isUrgent: true }, async (log) => {
      const { report, warnings } = await underLease({ ...row, signal }, options, run)
      try {
        await log.succeed(log.progressed(lastProgress(report)))
      } catch (error) {
        log.forget()
        warnings.push(notRecorded(job.kind, error))
      }
      return { ...report, jobId: log.jobId, warnings: [...report.warnings, ...warnings, ...log.warnings] }
    })
  })
}

type LeasedJob = Pick<NewJob, 'storeId' | 'backupId'> & { readonly kind: 'restore' | 'rollback'; readonly signal: AbortSignal | undefined }

/**
 * Runs the work under a lease: what the new engine refers to is referred to by the store only once that engine is live.
 *
 * The lease ends with the work, also when that could not clear its journal: whichever engine the recovery makes live, the store keeps the other one, or removes
 * it unused, and what it keeps it says in `retainedPayloadIds`.
 */
async function underLease<Report>(job: LeasedJob, options: AttemptOptions, run: () => Promise<Report>): Promise<{ readonly report: Report; readonly warnings: Error[] }> {
  const { lease, warnings } = await protect(job, options)
  let report: Report
  try {
    report = await run()
  } catch (error) {
    throw await releaseAfter(error, lease)
  }
  await lease?.release('handed-over').catch((error: unknown) => warnings.push(toError(error)))
  return { report, warnings }
}

async function protect(job: LeasedJob, { holds, catalog, clock = Date.now }: AttemptOptions): Promise<{ readonly lease: HeldLease | undefined; readonly warnings: Error[] }> {
  const leases = holds?.leases ?? (catalog && new Leases({ catalog, clock }))
  if (leases === undefined) return { lease: undefined, warnings: [] }
  try {
    const { unproven } = await leases.reconcile()
    const { kind: purpose, storeId, backupId, signal } = job
    return { lease: await leases.protect({ purpose, storeId, backupId, signal }), warnings: unproven.map(warnOfLease) }
  } catch (error) {
    if (holds !== undefined || !isHoldfastError(error) || error.code !== 'catalog_unavailable') throw error
    return { lease: undefined, warnings: [new CatalogUnavailableError(`Payloads are not held meanwhile: ${error.message}`, { cause: error })] }
  }
}
