/** The right to change a home, from one process at a time: held for one piece of work, or from the drain of a restore to its end. */
import { StoreNotDrainedError } from '../../../errors/errors.ts'
import { lockHome, lockOutWriters } from './home-locks.ts'
import { HomeSession } from './home-session.ts'
import type { PostgresPool } from '../connection/client.ts'

/** How long a process that was killed may go on in the server: it looks for its client once a second while a statement runs. */
const DYING_MS = 3000

export class HomeLease {
  readonly #pool: PostgresPool
  readonly #schema: string
  readonly #answerTimeoutMs: number
  #session: HomeSession | undefined
  /** Whether the session is kept when the work that runs has ended. */
  #isKept = false
  /** Whether writers are to be kept out without a break until the swap is made. */
  #isDrained = false
  /** Whether they were not. */
  #wasBroken = false
  #last: Promise<unknown> = Promise.resolve()

  constructor(pool: PostgresPool, { schema, answerTimeoutMs }: { readonly schema: string; readonly answerTimeoutMs: number }) {
    this.#pool = pool
    this.#schema = schema
    this.#answerTimeoutMs = answerTimeoutMs
  }

  /**
   * Runs a piece of work on a session that alone may change the home; one after another. Rejects with `restore_in_progress` when another
   * process or handle still has that right after `waitMs`.
   */
  async run<T>(task: (session: HomeSession) => Promise<T>, { waitMs = 0 }: { readonly waitMs?: number } = {}): Promise<T> {
    const running = this.#last.then(() => this.#run(task, waitMs))
    this.#last = running.catch(() => undefined)
    return await running
  }

  /** Keeps the right until `end`, and so nothing removes what is being made. */
  keep(): void {
    this.#isKept = true
  }

  /** Keeps writers of all processes out from now on, those in flight awaited; `store_not_drained` when they do not end in time. */
  async drain(timeoutMs: number): Promise<void> {
    await this.run(async (session) => {
      this.checkDrain()
      await lockOutWriters(session, this.#schema, { timeoutMs })
      this.#isDrained = true
      this.#isKept = true
    })
  }

  /** Throws `store_not_drained` when writers were to be kept out and the session that did so was lost: they may have written since. */
  checkDrain(): void {
    if (!this.#wasBroken) return
    throw new StoreNotDrainedError(`Cannot swap the engines of the store in schema "${this.#schema}": the connection that kept writers out broke`, {
      hint: 'Nothing was swapped; start the restore again',
    })
  }

  /** The swap is made: whatever is written from now on goes to the engine that is live. */
  swapped(): void {
    this.#isDrained = false
    this.#wasBroken = false
  }

  /** Gives the right back, when the work that runs has ended. Never rejects. */
  async end(): Promise<void> {
    const ending = this.#ended(this.#last)
    this.#last = ending
    await ending
  }

  async #ended(before: Promise<unknown>): Promise<void> {
    await before
    this.#isKept = false
    this.#isDrained = false
    this.#wasBroken = false
    await this.#release()
  }

  async #run<T>(task: (session: HomeSession) => Promise<T>, waitMs: number): Promise<T> {
    const session = await this.#acquired(waitMs)
    try {
      return await task(session)
    } finally {
      if (!this.#isKept) await this.#release()
    }
  }

  async #acquired(waitMs: number): Promise<HomeSession> {
    const before = this.#session
    if (before !== undefined && !before.isLost) return before
    if (before !== undefined) {
      this.#wasBroken ||= this.#isDrained
      this.#isDrained = false
      this.#session = undefined
      before.close()
    }
    const action = `Cannot change the engines of the store in schema "${this.#schema}"`
    const session = await HomeSession.open(this.#pool, { action, answerTimeoutMs: this.#answerTimeoutMs })
    try {
      // What was lost may not have ended in the server yet.
      await lockHome(session, this.#schema, { waitMs: before === undefined ? waitMs : Math.max(waitMs, DYING_MS) })
    } catch (error) {
      session.close()
      throw error
    }
    this.#session = session
    return session
  }

  async #release(): Promise<void> {
    const session = this.#session
    this.#session = undefined
    await session?.end()
  }
}
