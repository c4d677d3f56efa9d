/** Keeps a catalog in any abstract-level database. */
import type { AbstractLevel } from 'abstract-level'
import { checkNumber } from '../../util/check-number.ts'
import { sha256Of } from '../../util/checked-bytes.ts'
import { type Kind, NUMBER, type OptionKinds, CLOCK, checkArgument, checkOptions, has, optional } from '../../util/check-options.ts'
import { failedWriteOptions, writeUnlessFailed } from '../../util/failed-writes.ts'
import { isClosed, isFullDisk, lockRefusal, unfitHint } from '../../util/level-errors.ts'
import { undoOnError } from '../../errors/clean-up.ts'
import { messageOf } from '../../errors/error-message.ts'
import { CLOSED_HINT, NO_SPACE_HINT } from '../../errors/system-codes.ts'
import { CatalogUnavailableError, isHoldfastError } from '../../errors/errors.ts'
import { type BackupEvent, type Catalog, type CatalogBackup, type CatalogEvent, HOLD_CHANGES, type Job, type JobError, type JobEvent, type JobKind, type UnknownEvent } from '../../contracts/catalog.ts'
import { decodeEvent, encodeEvent } from '../event-codec.ts'
import { foldBackup, foldJob, foldLease, foldSweep } from '../fold-events.ts'
import type { Lease, LeaseEvent, RunningSweep, SweepEvent } from '../../contracts/hold-events.ts'
import { mayBeUnderWay } from '../../util/job-owner.ts'

/** Any abstract-level database, with any encodings. It may contain nothing but the catalog. */
// eslint-disable-next-line typescript/no-explicit-any -- the formats and defaults of the database do not matter here
export type CatalogDatabase = AbstractLevel<any, any, any>

export interface LevelCatalogOptions {
  /** The time in milliseconds since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined
}

const DATABASE: Kind = has<CatalogDatabase>('an abstract-level database', 'iterator', 'batch')
export const CATALOG_OPTIONS: OptionKinds<LevelCatalogOptions> = { clock: optional(CLOCK) }

// The keys. jobs/JOB/INDEX, backups/BACKUP/DESTINATION/INDEX, leases/LEASE/INDEX and sweeps/SWEEP/INDEX hold events, never rewritten.
// running/JOB, leased/LEASE and sweeping/SWEEP index what has not ended, so that opening a catalog and reading holds cost the same at any
// age. hold-generation counts the changes of holds. hold-features/FEATURE, from a newer release, names a way of holding payloads that a
// release must know before it reads holds.
const MARKER = 'catalog'
const GENERATION = 'hold-generation'
const HOLD_FEATURES = 'hold-features/'
const FORMAT = '{"format":1}'
const INDEX_DIGITS = 8
const PAGE_SIZE = 100
const TEXT = { keyEncoding: 'utf8', valueEncoding: 'utf8' } as const

/**
 * Opens a catalog in a database, which the catalog closes. Ends jobs whose process died as `interrupted`.
 *
 * Rejects with `catalog_unavailable` when the database cannot be opened, or holds something else.
 */
export async function levelCatalog(db: CatalogDatabase, options: LevelCatalogOptions = {}): Promise<Catalog> {
  checkArgument('levelCatalog', db, { name: 'db', kind: DATABASE })
  checkOptions('levelCatalog', options, CATALOG_OPTIONS)
  const catalog = new LevelCatalog(db)
  await undoOnError(() => catalog.begin(new Date((options.clock ?? Date.now)()).toISOString()), () => db.close())
  return catalog
}

class LevelCatalog implements Catalog {
  readonly #db: CatalogDatabase
  /** The last append: appends run one after another, because each looks for the end of the events before it. */
  #last: Promise<void> = Promise.resolve()

  constructor(db: CatalogDatabase) {
    this.#db = db
  }

  async begin(at: string): Promise<void> {
    await attempt('open', () => this.#db.open())
    const marker = await this.#get(MARKER)
    if (marker === undefined) {
      if ((await this.#keys({ limit: 1 })).length > 0) throw new CatalogUnavailableError('Cannot open the catalog: the database holds something else', NOT_ITS)
      await this.#write([[MARKER, FORMAT]])
    } else if (marker !== FORMAT) {
      throw new CatalogUnavailableError('Cannot open the catalog: this release does not know its format', NEWER)
    }
    await this.#endInterrupted(at)
  }

  async append(...events: readonly CatalogEvent[]): Promise<void> {
    const appended = this.#last.then(() => this.#append(events))
    this.#last = appended.catch(() => undefined)
    await appended
  }

  async *jobs(options: { readonly limit?: number | undefined } = {}): AsyncGenerator<Job, void, undefined> {
    checkOptions('jobs', options, { limit: optional(NUMBER) })
    let left = checkNumber('limit', options.limit ?? Infinity, { least: 0, most: Infinity })
    if (left <= 0) return
    for await (const events of this.#groups('jobs/', { reverse: true })) {
      const job = foldJob(events as readonly JobEvent[])
      if (job === undefined && events.some(({ type }) => type === 'unknown')) continue
      if (job === undefined) throw damageError('jobs/', new TypeError('a job has no start'))
      yield job
      left -= 1
      if (left <= 0) return
    }
  }

  async job(jobId: string): Promise<Job | undefined> {
    for await (const events of this.#groups(jobPrefix(jobId))) return foldJob(events as readonly JobEvent[])
    return undefined
  }

  async *backups(): AsyncGenerator<CatalogBackup, void, undefined> {
    for await (const events of this.#groups('backups/')) {
      const backup = foldBackup(events as readonly BackupEvent[])
      if (backup !== undefined) yield backup
    }
  }

  async backup(backupId: string, destination: string): Promise<CatalogBackup | undefined> {
    for await (const events of this.#groups(backupPrefix(backupId, destination))) return foldBackup(events as readonly BackupEvent[])
    return undefined
  }

  async leases(): Promise<readonly Lease[]> {
    const [feature] = await this.#open(HOLD_FEATURES)
    if (feature !== undefined) throw newerHolds(`payloads are held by ${JSON.stringify(feature)}`)
    const leases: Lease[] = []
    for (const leaseId of await this.#open('leased/')) {
      let isThere = false
      for await (const events of this.#groups(`leases/${leaseId}/`)) {
        isThere = true
        const lease = foldLease(events as readonly LeaseEvent[])
        if (lease !== undefined) leases.push(lease)
        else if (!events.some(({ type }) => type === 'lease-released')) throw newerHolds(`lease ${leaseId} was taken`)
      }
      // Events are never removed, not even those of a lease released meanwhile.
      if (!isThere) throw damageError(`leases/${leaseId}/`, new TypeError('a lease that was not released has no events'))
    }
    return leases
  }

  async sweeps(): Promise<readonly RunningSweep[]> {
    const sweeps: RunningSweep[] = []
    for (const sweepId of await this.#open('sweeping/')) {
      for await (const events of this.#groups(`sweeps/${sweepId}/`)) {
        const sweep = foldSweep(events as readonly SweepEvent[])
        if (sweep !== undefined) sweeps.push(sweep)
      }
    }
    return sweeps
  }

  async holdGeneration(): Promise<number> {
    const text = (await this.#get(GENERATION)) ?? '0'
    const generation = Number(text)
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(generation)) throw damageError(GENERATION, new TypeError('it is not a number'))
    return generation
  }

  async close(): Promise<void> {
    await this.#last
    await attempt('close', () => this.#db.close())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #append(events: readonly CatalogEvent[]): Promise<void> {
    const next = new Map<string, number>()
    const changes: [string, string | undefined][] = []
    for (const event of events) {
      const prefix = prefixOf(event)
      const index = next.get(prefix) ?? (await this.#nextIndex(prefix))
      next.set(prefix, index + 1)
      changes.push([prefix + String(index).padStart(INDEX_DIGITS, '0'), encodeEvent(event)])
      const [opens, closes] = indexOf(event)
      if (opens !== undefined) changes.push([opens, ''])
      if (closes !== undefined) changes.push([closes, undefined])
    }
    const holdChanges = events.filter(({ type }) => HOLD_CHANGES.has(type)).length
    if (holdChanges > 0) changes.push([GENERATION, String((await this.holdGeneration()) + holdChanges)])
    await this.#write(changes)
  }

  async #nextIndex(prefix: string): Promise<number> {
    const [last] = await this.#keys({ ...rangeOf(prefix), reverse: true, limit: 1 })
    return last === undefined ? 0 : Number(last.slice(prefix.length)) + 1
  }

  /** The IDs in one of the indexes of what has not ended. */
  async #open(index: string): Promise<readonly string[]> {
    return (await this.#keys(rangeOf(index))).map((key) => key.slice(index.length))
  }

  async #endInterrupted(at: string): Promise<void> {
    for (const jobId of await this.#open('running/')) {
      const job = await this.job(jobId)
      // A newer release began this job, and ends it.
      if (job === undefined || mayBeUnderWay(jobId, job.owner)) continue
      await this.append({ type: 'job-ended', at, jobId, state: 'interrupted', error: diedError(job.kind) })
    }
    for (const { sweepId, owner } of await this.sweeps()) {
      if (!mayBeUnderWay(sweepId, owner)) await this.append({ type: 'sweep-ended', at, sweepId })
    }
  }

  /** The events of each job or backup, in order. */
  async *#groups(prefix: string, { reverse = false } = {}): AsyncGenerator<readonly (CatalogEvent | UnknownEvent)[], void, undefined> {
    let current: string | undefined
    let events: (CatalogEvent | UnknownEvent)[] = []
    for await (const [key, value] of this.#entries({ ...rangeOf(prefix), reverse })) {
      const owner = key.slice(0, -INDEX_DIGITS)
      if (owner !== current && events.length > 0) {
        yield reverse ? events.toReversed() : events
        events = []
      }
      current = owner
      events.push(decode(key, value))
    }
    if (events.length > 0) yield reverse ? events.toReversed() : events
  }

  async *#entries(range: object): AsyncGenerator<readonly [string, string], void, undefined> {
    const iterator = await attempt('read', async () => this.#db.iterator<string, string>({ ...range, ...TEXT }))
    try {
      for (;;) {
        const page = await attempt('read', () => iterator.nextv(PAGE_SIZE))
        if (page.length === 0) return
        yield* page
      }
    } finally {
      await iterator.close()
    }
  }

  async #keys(range: object): Promise<readonly string[]> {
    return await attempt('read', () => this.#db.keys<string>({ ...range, keyEncoding: 'utf8' }).all())
  }

  async #get(key: string): Promise<string | undefined> {
    return await attempt('read', () => this.#db.get<string, string>(key, TEXT))
  }

  /** Writes all changes or none, durably. A value of `undefined` removes its key. Refused after a failed write: see `failed-writes.ts`. */
  async #write(changes: readonly (readonly [string, string | undefined])[]): Promise<void> {
    const operations = changes.map(([key, value]) => (value === undefined ? { type: 'del' as const, key } : { type: 'put' as const, key, value }))
    await attempt('write', () => writeUnlessFailed(this.#db, () => this.#db.batch<string, string>(operations, { ...TEXT, sync: true } as typeof TEXT)))
  }
}

const NOT_ITS = { hint: 'Give the catalog a directory of its own' }
const IN_USE = { hint: 'Let the backup, restore or sweep that uses the catalog end, then try again; if a server is running, do this from within the server', details: { isInUse: true } }
const NEWER = { hint: 'Use the release of Holdfast that wrote the catalog, or a newer one' }
const MAKE_ANEW = { hint: 'Move the catalog away and rebuild it from the destinations: holdfast catalog rebuild' }
const HINT_OF_STORE = 'Check the store: opening it completed or undid the job, so the store is unchanged or replaced as a whole'
const HINT_OF_DEAD: Readonly<Record<string, string>> = {
  backup: 'If the backup is listed at its destination, check it with "holdfast verify" and record it with "holdfast catalog rebuild"',
  restore: HINT_OF_STORE,
  rollback: HINT_OF_STORE,
  delete: 'Delete the backup again, to remove the rest of it',
}

function diedError(kind: JobKind): JobError {
  return { code: 'internal', message: 'The process of the job ended before the job did', hint: HINT_OF_DEAD[kind] ?? NEWER.hint }
}

/** The error for holds of a newer release, which must never be missed. */
function newerHolds(what: string): CatalogUnavailableError {
  return new CatalogUnavailableError(`Cannot tell what the catalog holds: ${what} by a newer release in a way that this release does not know`, {
    ...NEWER,
    retryable: false,
  })
}

/** The index key that an event adds, and the one that it removes. */
function indexOf(event: CatalogEvent): readonly [opens: string | undefined, closes: string | undefined] {
  switch (event.type) {
    case 'job-started':
      return [`running/${event.jobId}`, undefined]
    case 'job-ended':
      return [undefined, `running/${event.jobId}`]
    case 'lease-taken':
      return [`leased/${event.leaseId}`, undefined]
    case 'lease-released':
      return [undefined, `leased/${event.leaseId}`]
    case 'sweep-started':
      return [`sweeping/${event.sweepId}`, undefined]
    case 'sweep-ended':
      return [undefined, `sweeping/${event.sweepId}`]
    default:
      return [undefined, undefined]
  }
}

function prefixOf(event: CatalogEvent): string {
  if ('leaseId' in event) return `leases/${event.leaseId}/`
  if ('sweepId' in event) return `sweeps/${event.sweepId}/`
  return 'jobId' in event ? jobPrefix(event.jobId) : backupPrefix(event.backupId, event.destination)
}

function jobPrefix(jobId: string): string {
  return `jobs/${jobId}/`
}

function backupPrefix(backupId: string, destination: string): string {
  return `backups/${backupId}/${sha256Of(destination).slice(0, 32)}/`
}

/** The range of all keys with a prefix: "0" comes after "/". */
function rangeOf(prefix: string): { readonly gte: string; readonly lt: string } {
  return { gte: prefix, lt: `${prefix.slice(0, -1)}0` }
}

function decode(key: string, value: string): CatalogEvent | UnknownEvent {
  try {
    return decodeEvent(value)
  } catch (error) {
    throw damageError(key, error)
  }
}

function damageError(key: string, cause: unknown): CatalogUnavailableError {
  const reason = messageOf(cause)
  return new CatalogUnavailableError(`Cannot read the catalog: its record "${key}" is damaged: ${reason}`, { cause, retryable: false, ...MAKE_ANEW })
}

async function attempt<T>(verb: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    if (isHoldfastError(error)) throw error
    if (isClosed(error)) {
      throw new CatalogUnavailableError(`Cannot ${verb} the catalog: ${messageOf(error)}`, { cause: error, hint: CLOSED_HINT, retryable: false })
    }
    // LevelDB's own reason is the cause of "Database failed to open".
    const reason = error instanceof Error && error.cause instanceof Error ? error.cause : error
    if (lockRefusal(reason) === 'taken') throw new CatalogUnavailableError(`Cannot ${verb} the catalog: another process has it open`, { cause: error, ...IN_USE })
    const hint = unfitHint(reason)
    const why = hint === undefined ? isFullDisk(messageOf(reason)) && { hint: NO_SPACE_HINT } : { hint, retryable: false }
    const options = verb === 'write' ? failedWriteOptions(error, 'catalog') : { cause: error, ...why }
    throw new CatalogUnavailableError(`Cannot ${verb} the catalog: ${messageOf(reason)}`, options)
  }
}
