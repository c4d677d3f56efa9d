/**
 * One attempt to change a store: alone on its handle, as a job, under a lease on all payloads. Every restore, whole, into a database of an
 * embedder or of one path, and every rollback runs as an attempt. A failing catalog does not stop an attempt: it is a warning.
 */
import { abortTextOf, JOB_HOOKS, type JobHooks, runJob } from '../catalog/run-job.ts'
import { type NewJob, notRecorded } from '../catalog/job-log.ts'
import type { Backupable } from '../contracts/backupable.ts'
import type { Catalog, JobProgress, JobProgressed } from '../contracts/catalog.ts'
import { CATALOG } from '../contracts/kinds.ts'
import type { Swappable } from '../contracts/swappable.ts'
import { toAborted } from '../errors/aborts.ts'
import { toError } from '../errors/error-message.ts'
import { CatalogUnavailableError, isHoldfastError } from '../errors/errors.ts'
import { HOLDS, type Holds } from '../gc/holds/holds.ts'
import { type HeldLease, Leases, releaseAfter, warnOfLease } from '../gc/leases/leases.ts'
import { type OptionKinds, CLOCK, optional } from '../util/check-options.ts'
import { runExclusively } from './run-exclusively.ts'

/** The public options of every attempt. */
export interface AttemptOptions extends JobHooks {
  /** Where the attempt is recorded. A failure to record is only a warning: see `warnings`. @default nowhere */
  readonly catalog?: Catalog | undefined
  /**
   * Keeps payloads from being deleted until the store refers to them. @default a lease in the catalog, if that can be written; without one,
   * the caller must see that nothing deletes payloads meanwhile
   */
  readonly holds?: Holds | undefined
  /** The time in milliseconds since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined
}

export const ATTEMPT_OPTIONS: OptionKinds<AttemptOptions> = { ...JOB_HOOKS, catalog: optional(CATALOG), holds: optional(HOLDS), clock: optional(CLOCK) }

/** The common part of all reports. */
export interface AttemptReport {
  readonly jobId: string
  /** Harmless failures. */
  readonly warnings: readonly Error[]
}

export interface Attempt<Report> {
  /** The store to change. */
  readonly target: Swappable | Backupable
  readonly job: Pick<NewJob, 'storeKind' | 'destination' | 'backupId'> & { readonly kind: 'restore' | 'rollback' }
  /** Reads the ID of the store. A failure here is ignored: the work finds its cause. */
  readonly readStoreId: () => Promise<string | undefined>
  readonly signal?: AbortSignal | undefined
  /** Does the work; the ID of the job is added to the report. */
  readonly run: () => Promise<Report>
  /** The last progress of the job. */
  readonly lastProgress: (report: Report) => JobProgress & Pick<JobProgressed, 'storeId'>
}

/**
 * Makes an attempt. The job ends as `succeeded`, `failed`, or, when the signal aborted, `interrupted`. If its start or
 * success cannot be recorded, that is in `warnings`; if a failure cannot be, the error says so.
 *
 * Rejects, before the job begins, with `restore_in_progress`, and with `backup_aborted` for a signal that is aborted already; then with
 * `hold_unavailable` when a running sweep does not answer, with `catalog_unavailable` if `holds` are given, with `backup_aborted` when the
 * signal ended the attempt, and with what `run` rejects with.
 */
export async function attempt<Report extends { readonly warnings: readonly Error[] }>(
  { target, job, readStoreId, signal, run, lastProgress }: Attempt<Report>,
  options: AttemptOptions,
): Promise<Report & AttemptReport> {
  return await runExclusively(target, async () => {
    if (signal?.aborted === true) throw toAborted(signal.reason, signal, abortTextOf(job.kind))
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
 * Runs the work under a lease, because the store refers to the new engine's payloads only once that engine is live.
 *
 * The lease ends with the work, even if the journal could not be cleared: whichever engine the recovery makes live, the store removes the
 * other one unused, or keeps it and lists its payloads in `retainedPayloadIds`.
 */
async function underLease<Report>(
  job: LeasedJob,
  options: AttemptOptions,
  run: () => Promise<Report>,
): Promise<{ readonly report: Report; readonly warnings: Error[] }> {
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

async function protect(
  job: LeasedJob,
  { holds, catalog, clock = Date.now }: AttemptOptions,
): Promise<{ readonly lease: HeldLease | undefined; readonly warnings: Error[] }> {
  const leases = holds?.leases ?? (catalog && new Leases({ catalog, clock }))
  if (leases === undefined) return { lease: undefined, warnings: [] }
  try {
    const { unproven } = await leases.reconcile()
    const { kind: purpose, storeId, backupId, signal } = job
    return { lease: await leases.protect({ purpose, storeId, backupId, signal }), warnings: unproven.map(warnOfLease) }
  } catch (error) {
    if (holds !== undefined || !isHoldfastError(error) || error.code !== 'catalog_unavailable') throw error
    return { lease: undefined, warnings: [new CatalogUnavailableError(`Payloads are not held during this work: ${error.message}`, { cause: error })] }
  }
}
