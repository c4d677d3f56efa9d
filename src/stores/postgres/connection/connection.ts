/** One connection of a pool, from when it is taken until it is given back or cut. */
import { setTimeout as delay } from 'node:timers/promises'
import { InternalError, StoreUnavailableError } from '../../../errors/errors.ts'
import { CLOSED_HINT } from '../../../errors/system-codes.ts'
import type { Interrupt } from '../../../util/interrupt.ts'
import { type Patience, answerWithin } from './answer-deadline.ts'
import { type BackendTransaction, Backend, THIS_TRANSACTION } from './backend.ts'
import { type PostgresClient, type PostgresPool, type Queryable, submit } from './client.ts'
import { CopyIn } from './copy-in.ts'
import { type CopyFormat, CopyOut } from './copy-out.ts'
import type { RowBlock } from './row-block.ts'
import { type FailureOptions, isConnectionOver, postgresError, unknownOutcome } from './server-errors.ts'

/** How long a transaction that is given up may take to end before its connection is cut. */
const GIVE_UP_TIMEOUT_MS = 4000

export interface ConnectionOptions extends FailureOptions {
  /** How long the server may leave a statement unanswered, in milliseconds. */
  readonly answerTimeoutMs: number
  /** Ends every wait for rows, but none for the end of a transaction. @default nothing does */
  readonly interrupt?: Interrupt | undefined
}

/** Runs one statement after the other. The first failure that breaks it is seen as `isLost`; it is cut then instead of given back. */
export class Connection implements Queryable {
  readonly #pool: PostgresPool
  readonly #client: PostgresClient
  readonly #options: ConnectionOptions
  /** Takes an error between two statements; the next one fails too. */
  readonly #onError = (): void => this.#lose()
  /** Memory that COPY commands have used. */
  readonly #spare: RowBlock[] = []
  #isLost = false
  #tellLost: () => void = ignore
  #backend: Backend | undefined
  #running: Promise<unknown> | undefined
  #copyIn: CopyIn | undefined
  #last: Promise<unknown> = Promise.resolve()
  #isReleased = false

  private constructor(pool: PostgresPool, client: PostgresClient, options: ConnectionOptions) {
    this.#pool = pool
    this.#client = client
    this.#options = options
    client.on('error', this.#onError)
  }

  static async open(pool: PostgresPool, options: ConnectionOptions): Promise<Connection> {
    const connecting = pool.connect()
    try {
      return new Connection(pool, await answerWithin(connecting, options.answerTimeoutMs), options)
    } catch (error) {
      // A client that comes too late is given back.
      connecting.then((client) => client.release(), ignore)
      throw postgresError(error, options)
    }
  }

  /** Runs each statement by itself, on any connection of the pool. */
  static queries(pool: PostgresPool, options: ConnectionOptions): Queryable {
    return {
      async rows<Row extends object>(text: string, values?: readonly unknown[]): Promise<Row[]> {
        const connection = await Connection.open(pool, options)
        try {
          return await connection.rows<Row>(text, values)
        } finally {
          connection.release()
        }
      },
    }
  }

  /** Whether the connection broke: its transaction and its locks are gone, or will be when the server notices. */
  get isLost(): boolean {
    return this.#isLost
  }

  /**
   * The process of the server that the client was told of when it connected: a pooler's is made up. `undefined` where the client does not
   * say.
   */
  get claimedProcessId(): number | undefined {
    return this.#client.processID ?? undefined
  }

  /** The process of the server that runs a statement now. */
  async processId(): Promise<number> {
    const [row] = await this.rows<{ pid: number }>('SELECT pg_backend_pid() AS pid')
    return row?.pid ?? 0
  }

  /** Calls `tell` when the connection breaks. */
  onLost(tell: () => void): void {
    this.#tellLost = tell
  }

  /**
   * Begins a transaction by statements that may wait `waitMs` for locks. From then on, a statement may take as long as the server works on
   * it.
   */
  async begin(text: string, { waitMs = 0 }: { readonly waitMs?: number } = {}): Promise<void> {
    const { answerTimeoutMs } = this.#options
    const [begun] = await this.rows<BackendTransaction>(`${text}; ${THIS_TRANSACTION}`, [], { timeoutMs: answerTimeoutMs + waitMs })
    if (begun === undefined) throw new InternalError('The server gave no row for a query of one')
    const others = Connection.queries(this.#pool, { action: 'Cannot ask about a transaction', answerTimeoutMs })
    this.#backend = new Backend(others, begun, answerTimeoutMs)
  }

  /** The rows of a statement, or of the last of several that have no values, which may take `timeoutMs`. */
  async rows<Row extends object>(text: string, values: readonly unknown[] = [], { timeoutMs }: { readonly timeoutMs?: number } = {}): Promise<Row[]> {
    return await this.#interruptible(this.#inTurn<Row>(text, values, timeoutMs))
  }

  #inTurn<Row extends object>(text: string, values: readonly unknown[] = [], timeoutMs?: number): Promise<Row[]> {
    const running = this.#last.then(() => this.#rows<Row>(text, values, timeoutMs))
    this.#last = running.catch(ignore)
    return running
  }

  async #rows<Row extends object>(text: string, values: readonly unknown[], timeoutMs: number | undefined): Promise<Row[]> {
    if (this.#isReleased) throw new StoreUnavailableError('Cannot use the connection to the store: it was closed', { hint: CLOSED_HINT })
    try {
      const answer = this.#client.query(text, values.length === 0 ? undefined : [...values])
      const running = timeoutMs === undefined ? this.#patience(answer) : answerWithin(answer, timeoutMs)
      this.#running = running
      const results: readonly { readonly rows: unknown[] }[] = [await running].flat()
      return (results.at(-1)?.rows ?? []) as Row[]
    } catch (error) {
      if (isConnectionOver(error)) this.#lose()
      throw this.#toError(error)
    } finally {
      this.#running = undefined
    }
  }

  copyOut(text: string, options: { readonly format: CopyFormat; readonly limitBytes: number }): CopyOut {
    const wait: Patience = (answer) => this.#interruptible(this.#wait(answer))
    const copy = new CopyOut(text, { ...options, toError: this.#toError, wait, spare: this.#spare })
    submit(this.#client, copy)
    return copy
  }

  copyIn(text: string): CopyIn {
    const copy = new CopyIn(text, { toError: this.#toError, wait: this.#wait })
    this.#copyIn = copy
    submit(this.#client, copy)
    return copy
  }

  /**
   * Runs a task in a transaction, and keeps the connection. When it rejects, nothing was changed, unless the connection broke in its
   * COMMIT.
   */
  async transaction<T>(task: () => Promise<T>, settings: Readonly<Record<string, number>> = {}): Promise<T> {
    await this.rows(['BEGIN', ...Object.entries(settings).map(([name, value]) => `SET LOCAL ${name} = ${value}`)].join('; '))
    try {
      const result = await task()
      await this.rows('COMMIT')
      return result
    } catch (error) {
      if (!this.isLost) await this.rows('ROLLBACK').catch(ignore)
      throw error
    }
  }

  /**
   * Runs a task that begins a transaction, commits it, and gives the connection back. When the task rejects, all is undone. See `commit`.
   */
  async use<T>(task: () => Promise<T>, unknownHint?: string): Promise<T> {
    try {
      const result = await task()
      await this.commit(unknownHint)
      return result
    } catch (error) {
      await this.rollBack()
      throw error
    }
  }

  /**
   * Commits the transaction that was begun, and gives the connection back. Where the connection breaks meanwhile, it is not known whether
   * the transaction was committed: the error says so with this hint, unless the transaction changes nothing.
   */
  async commit(unknownHint?: string): Promise<void> {
    try {
      await this.#inTurn('COMMIT')
    } catch (error) {
      await this.rollBack()
      throw unknownHint !== undefined && this.isLost ? unknownOutcome(error as Error, unknownHint) : error
    }
    this.release()
  }

  /** Undoes the transaction that was begun, and gives the connection back. Idempotent. Never rejects. */
  async rollBack(): Promise<void> {
    if (this.#isReleased) return
    if (!this.isLost) await this.#inTurn('ROLLBACK').catch(() => this.destroy())
    this.release()
  }

  /** Undoes the transaction from whatever state it is in, its statement and its COPY with it, and cuts the connection. */
  async giveUp(): Promise<void> {
    if (this.#isReleased) return
    const timer = new AbortController()
    const isOver = delay(GIVE_UP_TIMEOUT_MS, undefined, { signal: timer.signal, ref: false }).catch(ignore)
    await Promise.race([this.#endAll().catch(ignore), isOver])
    timer.abort()
    this.destroy()
  }

  async #endAll(): Promise<void> {
    if (this.#running !== undefined) {
      await this.#backend?.cancel()
      await this.#running.catch(ignore)
    }
    await this.#copyIn?.abandon()
    await this.#client.query('ROLLBACK')
  }

  /** Gives up the locks of the session, so that they are free when this resolves, and closes the connection. Never rejects. */
  async end(): Promise<void> {
    if (!this.isLost && !this.#isReleased) await this.rows('SELECT pg_advisory_unlock_all()').catch(ignore)
    this.destroy()
  }

  /** Gives the connection back to the pool; cuts one that broke. Idempotent. */
  release(): void {
    if (this.isLost) return this.destroy()
    if (this.#isReleased) return
    this.#isReleased = true
    this.#client.removeListener('error', this.#onError)
    this.#client.release()
  }

  /** Cuts the connection; the server ends the transaction when it notices. Idempotent. */
  destroy(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    // Errors of a connection that is being cut still arrive: the listener stays.
    this.#client.release(true)
  }

  #lose(): void {
    if (this.#isLost) return
    this.#isLost = true
    this.#tellLost()
  }

  readonly #toError = (error: unknown): Error => postgresError(error, this.#options)

  readonly #patience: Patience = (answer) => this.#backend?.patience(answer) ?? answerWithin(answer, this.#options.answerTimeoutMs)

  readonly #wait: Patience = (answer) =>
    this.#patience(answer).catch((error: unknown) => {
      throw this.#toError(error)
    })

  #interruptible<T>(work: Promise<T>): Promise<T> {
    return this.#options.interrupt?.race(work) ?? work
  }
}

function ignore(): void {}
