/**
 * Runs one mutation after another, each atomic. Mutations that arrive during a write run together and are written in one batch,
 * so that many callers share the cost of one sync.
 */
import type { RangeReadOptions, Reader, TextDatabase, TextRange } from '../engine/text-database.ts'

/** One mutation. It sees what was committed before, and its own changes. */
export interface Transaction extends Reader {
  put(key: string, value: string): void
  delete(key: string): void
}

interface Job {
  /** Records that the work will read, fetched with those of other jobs. */
  readonly keys: readonly string[]
  /** Whether the job runs without a transaction, and nothing else beside it. */
  readonly alone: boolean
  work(transaction: Transaction): Promise<unknown>
  settle(outcome: Outcome): void
}

type Outcome = { readonly value: unknown } | { readonly error: unknown }

/** Limits of one batch. A single mutation may exceed the second. */
const MAX_JOBS = 512
const MAX_CHANGES = 10_000

export class CommitQueue {
  readonly #db: TextDatabase
  readonly #sync: boolean
  #waiting: Job[] = []
  #running: Promise<void> | undefined

  constructor(db: TextDatabase, options: { readonly sync: boolean }) {
    this.#db = db
    this.#sync = options.sync
  }

  /** Runs a mutation in its turn. Resolves when its changes are committed; rejects without any of them. */
  async run<T>(work: (transaction: Transaction) => Promise<T>, keys: readonly string[] = []): Promise<T> {
    return (await this.#enqueue({ keys, alone: false, work })) as T
  }

  /** Runs work that changes the database by other means, in its turn, without a mutation beside it. */
  async runAlone<T>(work: () => Promise<T>): Promise<T> {
    return (await this.#enqueue({ keys: [], alone: true, work })) as T
  }

  /** Resolves when all jobs are done. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running
  }

  async #enqueue(job: Omit<Job, 'settle'>): Promise<unknown> {
    return await new Promise((resolve, reject) => {
      const settle = (outcome: Outcome): void => ('error' in outcome ? reject(outcome.error) : resolve(outcome.value))
      this.#waiting.push({ ...job, settle })
      this.#running ??= this.#drain()
    })
  }

  async #drain(): Promise<void> {
    // Wait for jobs of the same turn of the event loop: they go into the first batch.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      const jobs = this.#waiting.splice(0, this.#nextGroupSize())
      const [first] = jobs
      if (first?.alone === true) first.settle(await outcomeOf(first.work(new StagedTransaction(new Group(this.#db)))))
      else await this.#doTogether(jobs)
    }
    this.#running = undefined
  }

  #nextGroupSize(): number {
    const alone = this.#waiting.findIndex((job, at) => job.alone || at === MAX_JOBS)
    return alone === -1 ? this.#waiting.length : Math.max(1, alone)
  }

  async #doTogether(jobs: readonly Job[]): Promise<void> {
    const group = new Group(this.#db)
    const outcomes: Outcome[] = []
    const written = await outcomeOf(
      (async () => {
        await group.fetch(jobs.flatMap((job) => job.keys))
        for (const job of jobs) {
          if (group.changes.size >= MAX_CHANGES) break
          const transaction = new StagedTransaction(group)
          const outcome = await outcomeOf(job.work(transaction))
          if (!('error' in outcome)) group.take(transaction.changes)
          outcomes.push(outcome)
        }
        if (group.changes.size > 0) await this.#db.write(group.changes, { sync: this.#sync })
      })(),
    )
    if ('error' in written) return jobs.forEach((job) => job.settle(written))
    this.#waiting.unshift(...jobs.slice(outcomes.length))
    // Refusals wait for the write too, for they may depend on its changes.
    outcomes.forEach((outcome, at) => jobs[at]?.settle(outcome))
  }
}

/** What the mutations of one batch have read and changed so far. */
class Group {
  readonly changes: Map<string, string | undefined> = new Map()
  readonly db: TextDatabase
  readonly #read: Map<string, string | undefined> = new Map()

  constructor(db: TextDatabase) {
    this.db = db
  }

  async fetch(keys: readonly string[]): Promise<void> {
    const distinct = [...new Set(keys)]
    const values = await this.db.getMany(distinct)
    distinct.forEach((key, at) => this.#read.set(key, values[at]))
  }

  async get(key: string): Promise<string | undefined> {
    if (this.changes.has(key)) return this.changes.get(key)
    if (!this.#read.has(key)) this.#read.set(key, await this.db.get(key))
    return this.#read.get(key)
  }

  take(changes: Map<string, string | undefined>): void {
    for (const [key, value] of changes) this.changes.set(key, value)
  }
}

class StagedTransaction implements Transaction {
  readonly changes: Map<string, string | undefined> = new Map()
  readonly #group: Group

  constructor(group: Group) {
    this.#group = group
  }

  async get(key: string): Promise<string | undefined> {
    return this.changes.has(key) ? this.changes.get(key) : await this.#group.get(key)
  }

  put(key: string, value: string): void {
    this.changes.set(key, value)
  }

  delete(key: string): void {
    this.changes.set(key, undefined)
  }

  /** The records of the database merged with the changes of this batch, as they are when the loop begins. */
  async *range(range: TextRange, options?: RangeReadOptions): AsyncGenerator<readonly [string, string], void, undefined> {
    const changed = [...changedIn(range, this.#group.changes, this.changes)].toSorted(([a], [b]) => (a < b ? -1 : 1))
    let next = 0
    for await (const record of this.#group.db.range(range, options)) {
      for (; (changed[next]?.[0] ?? record[0]) < record[0]; next++) yield* present(changed[next])
      if (changed[next]?.[0] === record[0]) yield* present(changed[next++])
      else yield record
    }
    for (; next < changed.length; next++) yield* present(changed[next])
  }
}

function changedIn({ gte, lt }: TextRange, ...changes: readonly Map<string, string | undefined>[]): Map<string, string | undefined> {
  const within = new Map<string, string | undefined>()
  for (const map of changes) {
    for (const [key, value] of map) if (key >= gte && key < lt) within.set(key, value)
  }
  return within
}

function* present(change: readonly [string, string | undefined] | undefined): Generator<readonly [string, string]> {
  if (change?.[1] !== undefined) yield [change[0], change[1]]
}

async function outcomeOf(work: Promise<unknown>): Promise<Outcome> {
  try {
    return { value: await work }
  } catch (error) {
    return { error }
  }
}
