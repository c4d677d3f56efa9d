/** Restores and rollbacks as jobs of a catalog. A catalog that fails is no reason to leave a store unrestored: it is warned of. */
import type { Catalog, JobProgress, JobProgressed } from '../contracts/catalog.ts'
import { JobLog, type NewJob } from '../catalog/job-log.ts'
import { messageOf } from '../errors/error-message.ts'
import { BackupAbortedError, CatalogUnavailableError, isHoldfastError } from '../errors/errors.ts'
import type { Swappable } from '../contracts/swappable.ts'

export interface RecordOptions {
  /** Without one, nothing is recorded. */
  readonly catalog: Catalog | undefined
  readonly clock: () => number
  readonly signal?: AbortSignal | undefined
}

/** What a job that succeeded says last. */
export type LastProgress = JobProgress & Pick<JobProgressed, 'storeId'>

/**
 * Runs a job on a store and records its start and its end: `succeeded`, `interrupted` when the signal ended it, or `failed`. Where the start
 * or the success cannot be recorded, the outcome stays what it is, and `warnings` has why; where a failure cannot be, the error says so.
 */
export async function recorded<T extends { readonly warnings: readonly Error[] }>(
  target: Pick<Swappable, 'kind' | 'readStoreId'>,
  job: Pick<NewJob, 'destination' | 'backupId'> & { readonly kind: 'restore' | 'rollback' },
  options: RecordOptions & { readonly run: () => Promise<T>; readonly lastProgress: (report: T) => LastProgress },
): Promise<T> {
  const { catalog, run, lastProgress } = options
  if (catalog === undefined) return await run()
  // What is wrong with a store that cannot tell its ID is for the job itself to find.
  const storeId = await target.readStoreId().catch(() => undefined)
  const { log, warnings } = await begin({ ...job, storeKind: target.kind, storeId }, options)
  let report: T
  try {
    report = await run()
  } catch (error) {
    throw await ended(log, error, options.signal)
  }
  try {
    await log.succeed(log.progressed(lastProgress(report)))
  } catch (error) {
    log.forget()
    warnings.push(unrecorded(job.kind, error))
  }
  return warnings.length === 0 ? report : { ...report, warnings: [...report.warnings, ...warnings] }
}

async function begin(job: NewJob, { catalog, clock }: RecordOptions): Promise<{ readonly log: JobLog; readonly warnings: Error[] }> {
  try {
    return { log: await JobLog.start(job, { catalog, clock }), warnings: [] }
  } catch (error) {
    return { log: await JobLog.start(job, { catalog: undefined, clock }), warnings: [unrecorded(job.kind, error)] }
  }
}

/** Records why a job did not succeed, and returns what to throw. */
async function ended(log: JobLog, error: unknown, signal: AbortSignal | undefined): Promise<unknown> {
  if (signal?.aborted !== true || !isAbort(error, signal)) return await log.end('failed', error)
  const told = isHoldfastError(error) ? error : new BackupAbortedError('The restore was cancelled', { cause: error })
  const thrown = await log.end('interrupted', told)
  return thrown === told ? error : thrown
}

/** Whether an error came of the signal. */
function isAbort(error: unknown, signal: AbortSignal): boolean {
  return error === signal.reason || (error instanceof Error && error.name === 'AbortError') || (isHoldfastError(error) && error.code === 'backup_aborted')
}

function unrecorded(kind: NewJob['kind'], cause: unknown): CatalogUnavailableError {
  const reason = messageOf(cause)
  return new CatalogUnavailableError(`The ${kind} is not recorded as it was: ${reason}`, { cause })
}
