/** The advisory lock by which one process at a time changes a home: for one piece of work, or from the drain of a restore to its end. */
import { RestoreInProgressError, StoreNotDrainedError } from '../../../errors/errors.ts'
import { checkWaitMs } from '../../../util/check-number.ts'
import { lockKey, openLockConnection, waitForLock } from '../connection/advisory-locks.ts'
import type { PostgresPool } from '../connection/client.ts'
import type { Connection } from '../connection/connection.ts'

/** How long the session of a killed process may go on: while a statement runs, the server looks for its client once a second. */
const DYING_MS = 3000

export class HomeLock {
  readonly #pool: PostgresPool
  readonly #schema: string
  readonly #answerTimeoutMs: number
  #connection: Connection | undefined
  /** Whether the lock is kept when the work that runs has ended. */
  #isKept = false
  /** Whether writers are kept out until the swap is made. */
  #isDrained = false
  /** Whether the connection that kept writers out broke before the swap: writers were let in again. */
  #wasBroken = false
  #last: Promise<unknown> = Promise.resolve()

  constructor(pool: PostgresPool, { schema, answerTimeoutMs }: { readonly schema: string; readonly answerTimeoutMs: number }) {
    this.#pool = pool
    this.#schema = schema
    this.#answerTimeoutMs = answerTimeoutMs
  }

  /** Runs pieces of work one after another, with the lock. Rejects with `restore_in_progress` when others still have it after `waitMs`. */
  async run<T>(task: (connection: Connection) => Promise<T>, { waitMs = 0 }: { readonly waitMs?: number } = {}): Promise<T> {
    const running = this.#last.then(() => this.#run(task, waitMs))
    this.#last = running.catch(() => undefined)
    return await running
  }

  /** Keeps the lock until `end`, so that no other process removes what is being made. */
  keep(): void {
    this.#isKept = true
  }

  /** Refuses writers of all processes from now on, and waits for those in flight; `store_not_drained` when they do not end in time. */
  async drain(timeoutMs: number): Promise<void> {
    checkWaitMs('timeoutMs', timeoutMs)
    await this.run(async (connection) => {
      this.checkDrain()
      if (!(await waitForLock(connection, lockKey('writes', this.#schema), timeoutMs))) {
        throw new StoreNotDrainedError(`Cannot drain the store in schema "${this.#schema}": writes of others have not ended after ${timeoutMs} ms`, {
          details: { timeoutMs },
        })
      }
      this.#isDrained = true
      this.#isKept = true
    })
  }

  /** Throws `store_not_drained` when the connection that kept writers out broke: others may have written since. */
  checkDrain(): void {
    if (!this.#wasBroken) return
    throw new StoreNotDrainedError(`Cannot swap the engines of the store in schema "${this.#schema}": the connection that kept writers out broke`, {
      hint: 'Nothing was swapped; start the restore again',
    })
  }

  /** Tells that the swap is made: what is written from now on goes to the engine that is live. */
  swapped(): void {
    this.#isDrained = false
    this.#wasBroken = false
  }

  /** Gives the lock back when the work that runs has ended. Never rejects. */
  async end(): Promise<void> {
    const ending = this.#last.then(async () => {
      this.#isKept = false
      this.#isDrained = false
      this.#wasBroken = false
      return await this.#release()
    })
    this.#last = ending
    await ending
  }

  async #run<T>(task: (connection: Connection) => Promise<T>, waitMs: number): Promise<T> {
    const connection = await this.#acquire(waitMs)
    try {
      return await task(connection)
    } finally {
      if (!this.#isKept) await this.#release()
    }
  }

  async #acquire(waitMs: number): Promise<Connection> {
    const before = this.#connection
    if (before !== undefined && !before.isLost) return before
    if (before !== undefined) {
      this.#wasBroken ||= this.#isDrained
      this.#isDrained = false
      this.#connection = undefined
      before.destroy()
    }
    const action = `Cannot change the engines of the store in schema "${this.#schema}"`
    const connection = await openLockConnection(this.#pool, { action, answerTimeoutMs: this.#answerTimeoutMs })
    try {
      // The session of the connection that broke may not have ended in the server yet.
      const isOurs = await waitForLock(connection, lockKey('homes', this.#schema), before === undefined ? waitMs : Math.max(waitMs, DYING_MS))
      if (!isOurs) throw new RestoreInProgressError(`${action}: another process or handle is restoring it, or rolling it back`)
    } catch (error) {
      connection.destroy()
      throw error
    }
    this.#connection = connection
    return connection
  }

  async #release(): Promise<void> {
    const connection = this.#connection
    this.#connection = undefined
    await connection?.end()
  }
}
