/** Runs an attempt as a job: records its start first, gives its ID to the caller, and records its end. */
import { type AbortText, isAbort, toAborted } from '../errors/aborts.ts'
import { messageOf, toError } from '../errors/error-message.ts'
import { CombinedError } from '../errors/errors.ts'
import type { JobStarted } from '../contracts/catalog.ts'
import { FUNCTION, type OptionKinds, optional } from '../util/check-options.ts'
import { JobLog, type JobLogOptions, type NewJob, notRecorded } from './job-log.ts'

/** A job that began: enough to show, look up or cancel it. */
export type StartedJob = Pick<JobStarted, 'jobId' | 'kind' | 'storeKind' | 'storeId' | 'destination' | 'backupId'> & {
  /** ISO 8601 in UTC. */
  readonly startedAt: string
}

/** The options of every job. */
export interface JobHooks {
  /**
   * Called once, as soon as the job's start is durable in the catalog (or at once, without a catalog), before any work. Throwing or
   * rejecting fails the job.
   */
  readonly onJob?: ((job: StartedJob) => void | Promise<void>) | undefined
}

export const JOB_HOOKS: OptionKinds<JobHooks> = { onJob: optional(FUNCTION) }

export interface RunJobOptions extends JobHooks, JobLogOptions {
  readonly signal?: AbortSignal | undefined
  /** Whether to run the job even if its start cannot be recorded; `warnings` of the log then says why. @default false */
  readonly isUrgent?: boolean | undefined
}

/**
 * Runs an attempt as a job. `run` records the success; a failure is recorded here, as `interrupted` when the signal caused it, otherwise as
 * `failed`. The rejection has the ID of the job: see `jobIdOf`. An aborted attempt rejects with `backup_aborted`, with the reason as its
 * cause.
 */
export async function runJob<T>(job: NewJob, options: RunJobOptions, run: (log: JobLog) => Promise<T>): Promise<T> {
  const { onJob, signal } = options
  const log = await begin(job, options)
  try {
    await onJob?.({ jobId: log.jobId, startedAt: log.startedAt, ...job })
    return await run(log)
  } catch (error) {
    const failure = toAborted(error, signal, abortTextOf(job.kind))
    throw withJobId(await log.end(isAbort(error, signal) ? 'interrupted' : 'failed', failure), log.jobId)
  }
}

/** The message and hint of an aborted job. */
export function abortTextOf(kind: NewJob['kind']): AbortText {
  const hints: Readonly<Record<string, string | undefined>> = { backup: undefined, delete: 'Start the delete again when you are ready; what is deleted already stays deleted' }
  return { message: `The ${kind} was cancelled`, hint: kind in hints ? hints[kind] : `Nothing was changed; start the ${kind} again when you are ready` }
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

/**
 * The ID of the job that an error ended, from `runBackup`, `restoreBackup`, `restoreInto`, `restoreSubtree`, `rollback`, `deleteBackup` or
 * `delete` of a repository; `undefined` if no job began.
 */
export function jobIdOf(error: unknown): string | undefined {
  const { jobId } = (error ?? {}) as { readonly jobId?: unknown }
  return typeof jobId === 'string' ? jobId : undefined
}

/** Gives an error the property `jobId`. An error that has another job's ID already, or is not extensible, is wrapped. */
export function withJobId(thrown: unknown, jobId: string): Error {
  const error = toError(thrown)
  if (!('jobId' in error) && Object.isExtensible(error)) return Object.defineProperty(error, 'jobId', { value: jobId, enumerable: true })
  return withJobId(new CombinedError(messageOf(error), [error]), jobId)
}
