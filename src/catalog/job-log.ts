/** What a job says to the catalog: that it began, how far it is, how it ended. */
import { newUlid } from '../util/ulid.ts'
import { failureAfter } from '../errors/clean-up.ts'
import { messageOf } from '../errors/error-message.ts'
import { CatalogUnavailableError, type HoldfastError, InternalError, isHoldfastError } from '../errors/errors.ts'
import type { Catalog, CatalogEvent, JobEnded, JobError, JobProgress, JobProgressed, JobStarted } from '../contracts/catalog.ts'
import { markUnderWay, thisProcess } from '../util/job-owner.ts'

export type NewJob = Pick<JobStarted, 'kind' | 'storeKind' | 'storeId' | 'destination' | 'backupId'>

type Progress = JobProgress & Pick<JobProgressed, 'backupId' | 'storeId'>

export interface JobLogOptions {
  /** Without one, nothing is recorded. */
  readonly catalog?: Catalog | undefined
  /** @default Date.now */
  readonly clock?: (() => number) | undefined
}

const MAX_MESSAGE_LENGTH = 4096

export class JobLog {
  readonly jobId: string
  readonly startedAt: string
  /** What could not be recorded, though the job goes on. */
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

  /** Records that a job begins; durable when it resolves. */
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

  /** The time as events have it. */
  now(): string {
    return new Date(this.#clock()).toISOString()
  }

  /** Records how far the job is. That a catalog does not take it fails no job: it is a warning, once. */
  async progress(progress: Progress): Promise<void> {
    try {
      await this.#catalog?.append(this.progressed(progress))
    } catch (error) {
      if (!this.#isBehind) this.warnings.push(notRecorded(this.#kind, error))
      this.#isBehind = true
    }
  }

  /** The event of it, for `succeed`. */
  progressed(progress: Progress): JobProgressed {
    return { type: 'job-progressed', at: this.now(), jobId: this.jobId, ...progress }
  }

  /** Records the success, and with it, all or none, what came of the job. */
  async succeed(...events: readonly CatalogEvent[]): Promise<void> {
    await this.#catalog?.append(...events, { type: 'job-ended', at: this.now(), jobId: this.jobId, state: 'succeeded' })
    this.#release()
  }

  /** Gives the job up unrecorded: the next opening of the catalog ends it as `interrupted`. */
  forget(): void {
    this.#release()
  }

  /** Records how the job ended otherwise, and returns what to throw: the error, or, when it could not be recorded, both. */
  async end(state: Exclude<JobEnded['state'], 'succeeded'>, error: unknown): Promise<unknown> {
    const ended = { type: 'job-ended', at: this.now(), jobId: this.jobId, state, error: jobErrorOf(error) } as const
    const thrown = await failureAfter(error, () => this.#catalog?.append(ended), 'the end of the job could not be recorded, which the next opening of the catalog does')
    this.#release()
    return thrown
  }
}

/** The warning of a job that is not in the catalog as it was. */
export function notRecorded(kind: NewJob['kind'], cause: unknown): CatalogUnavailableError {
  return new CatalogUnavailableError(`The ${kind} is not recorded as it was: ${messageOf(cause)}`, { cause })
}

/** An error as data; what is no error of Holdfast is `internal`, in its own words. */
export function jobErrorOf(error: unknown): JobError {
  const { code, message, hint }: HoldfastError = isHoldfastError(error) ? error : new InternalError(messageOf(error), FOREIGN)
  return { code, message: message.slice(0, MAX_MESSAGE_LENGTH), hint }
}

const FOREIGN = { hint: 'The error came from outside Holdfast: see its message' }
