/** Records a job in the catalog: its start, progress and end. */
import { newUlid } from '../util/ulid.ts'
import { failureAfter } from '../errors/clean-up.ts'
import { messageOf } from '../errors/error-message.ts'
import { CatalogUnavailableError, type HoldfastError, InternalError, isHoldfastError } from '../errors/errors.ts'
import { systemErrorKind } from '../errors/system-codes.ts'
import type { Catalog, CatalogEvent, JobEnded, JobError, JobProgress, JobProgressed, JobStarted } from '../contracts/catalog.ts'
import { markUnderWay, thisProcess } from '../util/job-owner.ts'
import { asHoldfastError } from '../util/system-errors.ts'

export type NewJob = Pick<JobStarted, 'kind' | 'storeKind' | 'storeId' | 'destination' | 'backupId'>

type Progress = JobProgress & Pick<JobProgressed, 'backupId' | 'storeId'>

export interface JobLogOptions {
  /** The catalog to record in. @default none */
  readonly catalog?: Catalog | undefined
  /** @default Date.now */
  readonly clock?: (() => number) | undefined
}

const MAX_MESSAGE_LENGTH = 4096

export class JobLog {
  readonly jobId: string
  readonly startedAt: string
  /** Failures to record that do not stop the job. */
  readonly warnings: Error[] = []
  readonly #kind: NewJob['kind']
  #isBehind = false
  readonly #catalog: Catalog | undefined
  readonly #clock: () => number
  readonly #release: () => void

  private constructor(kind: NewJob['kind'], { catalog, clock = Date.now }: JobLogOptions) {
    this.#kind = kind
    this.#catalog = catalog
    this.#clock = clock
    const nowMs = clock()
    this.jobId = newUlid(nowMs)
    this.startedAt = new Date(nowMs).toISOString()
    this.#release = markUnderWay(this.jobId)
  }

  /** Records, durably, that a job begins. */
  static async start(job: NewJob, options: JobLogOptions): Promise<JobLog> {
    const log = new JobLog(job.kind, options)
    try {
      await options.catalog?.append({ type: 'job-started', at: log.startedAt, jobId: log.jobId, owner: thisProcess(), ...job })
      return log
    } catch (error) {
      log.#release()
      throw error
    }
  }

  /** The time, in the format of events. */
  now(): string {
    return new Date(this.#clock()).toISOString()
  }

  /** Records the job's progress. A failure to record is only a warning, once. */
  async progress(progress: Progress): Promise<void> {
    try {
      await this.#catalog?.append(this.progressed(progress))
    } catch (error) {
      if (!this.#isBehind) this.warnings.push(notRecorded(this.#kind, error))
      this.#isBehind = true
    }
  }

  /** The event of some progress, for `succeed`. */
  progressed(progress: Progress): JobProgressed {
    return { type: 'job-progressed', at: this.now(), jobId: this.jobId, ...progress }
  }

  /** Records the success and the job's results, all or none. */
  async succeed(...events: readonly CatalogEvent[]): Promise<void> {
    await this.#catalog?.append(...events, { type: 'job-ended', at: this.now(), jobId: this.jobId, state: 'succeeded' })
    this.#release()
  }

  /** Leaves the end of the job unrecorded: the next opening of the catalog ends it as `interrupted`. */
  forget(): void {
    this.#release()
  }

  /** Records a failure, and returns the error to throw: that failure, combined with a failure to record it. */
  async end(state: Exclude<JobEnded['state'], 'succeeded'>, error: unknown): Promise<unknown> {
    const ended = { type: 'job-ended', at: this.now(), jobId: this.jobId, state, error: jobErrorOf(error) } as const
    const thrown = await failureAfter(
      error,
      () => this.#catalog?.append(ended),
      'the end of the job could not be recorded; the next opening of the catalog records it',
    )
    this.#release()
    return thrown
  }
}

/** The warning for a job that is recorded incompletely or not at all. */
export function notRecorded(kind: NewJob['kind'], cause: unknown): CatalogUnavailableError {
  const hint = isHoldfastError(cause) ? cause.hint : undefined
  return new CatalogUnavailableError(`The ${kind} is not fully recorded: ${messageOf(cause)}`, { cause, hint })
}

/** An error as data; one of the file system gets its code, any other foreign error becomes `internal`, with its own message. */
export function jobErrorOf(error: unknown): JobError {
  const isKnown = isHoldfastError(error) || systemErrorKind(error) !== undefined
  const { code, message, hint }: HoldfastError = isKnown ? asHoldfastError(error) : new InternalError(messageOf(error), FOREIGN)
  return { code, message: message.slice(0, MAX_MESSAGE_LENGTH), hint }
}

const FOREIGN = { hint: 'Read the message; the error came from outside Holdfast' }
