/** One attempt as a job: its row before anything else, its ID to the caller, its end whatever comes of it. */
import { type AbortText, isAbort, toAborted } from '../errors/aborts.ts'
import { messageOf, toError } from '../errors/error-message.ts'
import { CombinedError } from '../errors/errors.ts'
import type { JobStarted } from '../contracts/catalog.ts'
import { JobLog, type JobLogOptions, type NewJob, notRecorded } from './job-log.ts'

/** A job that began: enough to show it, to ask the catalog for it, and to cancel it by name. */
export type StartedJob = Pick<JobStarted, 'jobId' | 'kind' | 'storeKind' | 'storeId' | 'destination' | 'backupId'> & {
  /** ISO 8601 in UTC. */
  readonly startedAt: string
}

/** What every job takes. */
export interface JobHooks {
  /**
   * Called once, as soon as the row of the job is durable in the catalog, and before anything else is done. Without a catalog it is called too. What it throws,
   * or rejects with, fails the job.
   */
  readonly onJob?: ((job: StartedJob) => void | Promise<void>) | undefined
}

export interface RunJobOptions extends JobHooks, JobLogOptions {
  readonly signal?: AbortSignal | undefined
  /** Whether the job is done though the catalog does not take its row; `warnings` of the log has why then. @default false */
  readonly isUrgent?: boolean | undefined
}

/**
 * Runs an attempt as a job. `run` ends the row when it succeeds; here it ends as `interrupted` when the signal ended it, and as `failed` otherwise. What
 * this rejects with has the ID of the job: see `jobIdOf`. An attempt that its signal ended rejects with `backup_aborted`, the reason as its cause.
 */
export async function runJob<T>(job: NewJob, options: RunJobOptions, run: (log: JobLog) => Promise<T>): Promise<T> {
  const { onJob, signal } = options
  const log = await begin(job, options)
  try {
    await onJob?.({ jobId: log.jobId, startedAt: log.startedAt, ...job })
    return await run(log)
  } catch (error) {
    const failure = toAborted(error, signal, cancelled(job.kind))
    throw withJobId(await log.end(isAbort(error, signal) ? 'interrupted' : 'failed', failure), log.jobId)
  }
}

/** What is said of a job that its signal ended. */
export function cancelled(kind: NewJob['kind']): AbortText {
  return { message: `The ${kind} was cancelled`, hint: kind === 'backup' ? undefined : `Nothing was changed; start the ${kind} again when it is wanted` }
}

async function begin(job: NewJob, options: RunJobOptions): Promise<JobLog> {
  try {
    return await JobLog.start(job, options)
  } catch (error) {
    if (options.isUrgent !== true) throw error
    const log = await JobLog.start(job, { ...options, catalog: undefined })
    log.warnings.push(notRecorded(job.kind, error))
    return log
  }
}

/** The ID of the job that a rejection of `runBackup`, `restoreBackup`, `restoreSubtree`, `rollback` or `deleteBackup` ended; `undefined` where no job began. */
export function jobIdOf(error: unknown): string | undefined {
  const { jobId } = (error ?? {}) as { readonly jobId?: unknown }
  return typeof jobId === 'string' ? jobId : undefined
}

/** Gives a failure the ID of its job, as the property `jobId`. One that has that property already, as of another job, or takes none, is told in an error of its own. */
function withJobId(thrown: unknown, jobId: string): Error {
  const error = toError(thrown)
  if (!('jobId' in error) && Object.isExtensible(error)) return Object.defineProperty(error, 'jobId', { value: jobId, enumerable: true })
  return withJobId(new CombinedError(messageOf(error), [error]), jobId)
}
