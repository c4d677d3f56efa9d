/** Keeps sweeps of a store's payloads apart from the work that needs them, across processes and machines. */
import { failureAfter } from '../../../errors/clean-up.ts'
import { InternalError, StoreNotDrainedError, StoreUnavailableError, SweepAlreadyRunningError } from '../../../errors/errors.ts'
import type { PayloadGuard } from '../../../contracts/payload-store.ts'
import { type PoolHandle, poolHandle } from '../connection/pools.ts'
import { ANSWER_TIMEOUT_MS } from '../connection/answer-deadline.ts'
import { STRING, checkOptions, oneOf } from '../../../util/check-options.ts'
import { CONNECTION, type PostgresPool } from '../connection/client.ts'
import type { Connection } from '../connection/connection.ts'
import { lockKey, openLockConnection, tryLock } from '../connection/advisory-locks.ts'

export interface PayloadGuardOptions {
  readonly connection: PostgresPool | string
  /** The schema of the store. */
  readonly schema: string
  /** Any number of guards may need payloads at the same time; a sweep is alone. */
  readonly use: 'need' | 'sweep'
}

/**
 * Takes the guard, an advisory lock of the server. It is for processes that do not share a catalog, in which the leases are.
 *
 * To sweep rejects with `store_not_drained` while payloads are needed, and with `sweep_already_running`; to need them with
 * `sweep_already_running` while they are swept; both with `store_unavailable` when the server does not serve.
 */
export async function guardPostgresPayloads(options: PayloadGuardOptions): Promise<PayloadGuard> {
  checkOptions('guardPostgresPayloads', options, { connection: CONNECTION, schema: STRING, use: oneOf(['need', 'sweep']) })
  const { connection, schema, use } = options
  const handle = await poolHandle(connection)
  let session: Connection | undefined
  try {
    session = await openLockConnection(handle.pool, { action: `Cannot guard the payloads of the store in schema "${schema}"`, answerTimeoutMs: ANSWER_TIMEOUT_MS })
    const key = lockKey('payloads', schema)
    if (await tryLock(session, key, { isShared: use === 'need' })) return new Guard(session, { handle, schema })
    if (use === 'need' || !(await tryLock(session, key, { isShared: true }))) {
      throw new SweepAlreadyRunningError(`Cannot use the payloads of the store in schema "${schema}": a sweep of them is running in another process`)
    }
    const others = 'another process is backing it up, restoring it, or importing into it'
    throw new StoreNotDrainedError(`Cannot sweep the payloads of the store in schema "${schema}": ${others}`, {
      hint: 'Nothing was deleted. Let it end, then try again',
    })
  } catch (error) {
    const thrown = await failureAfter(error, () => session?.end())
    throw await failureAfter(thrown, () => handle.close())
  }
}

class Guard implements PayloadGuard {
  readonly #connection: Connection
  readonly #handle: PoolHandle
  readonly #schema: string
  readonly #lost = new AbortController()
  #ended: Promise<void> | undefined

  constructor(connection: Connection, { handle, schema }: { readonly handle: PoolHandle; readonly schema: string }) {
    this.#connection = connection
    this.#handle = handle
    this.#schema = schema
    connection.onLost(() => this.#lose())
  }

  get signal(): AbortSignal {
    return this.#lost.signal
  }

  async check(): Promise<void> {
    this.#lost.signal.throwIfAborted()
    if (this.#ended !== undefined) throw new InternalError(`Cannot check the guard of the payloads in schema "${this.#schema}": it was ended`)
    try {
      await this.#connection.rows('SELECT')
    } catch (error) {
      throw this.#lose(error)
    }
  }

  end(): Promise<void> {
    this.#ended ??= this.#connection.end().then(() => this.#handle.close())
    return this.#ended
  }

  #lose(cause?: unknown): unknown {
    if (this.#lost.signal.aborted) return this.#lost.signal.reason
    if (this.#ended !== undefined) return cause
    const error = new StoreUnavailableError(`The connection broke that kept others from the payloads of the store in schema "${this.#schema}"`, {
      cause,
      retryable: true,
      hint: 'Nothing was done to payloads since; try again',
    })
    this.#lost.abort(error)
    return error
  }
}
