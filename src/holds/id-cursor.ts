/** Reads ascending payload IDs beside others that ascend. */
import { InternalError } from '../errors.ts'

/** A stream of ascending IDs that is asked for IDs in ascending order. */
export class IdCursor {
  readonly #batches: AsyncIterator<readonly string[]>
  readonly #what: string
  #batch: readonly string[] = []
  #at = 0
  #last = ''
  #isAtEnd = false

  /** `what` names the stream in errors. */
  constructor(batches: AsyncIterable<readonly string[]>, what: string) {
    this.#batches = batches[Symbol.asyncIterator]()
    this.#what = what
  }

  /** Whether the stream has an ID; `undefined` when `load` must be called first. Ask for IDs in ascending order. */
  has(payloadId: string): boolean | undefined {
    const batch = this.#batch
    let at = this.#at
    while (at < batch.length && (batch[at] as string) < payloadId) at++
    this.#at = at
    if (at < batch.length) return batch[at] === payloadId
    return this.#isAtEnd ? false : undefined
  }

  /** Gets the next IDs. Rejects with `internal` when they do not ascend: nothing may be decided by what is out of order. */
  async load(): Promise<void> {
    const { done, value } = await this.#batches.next()
    this.#isAtEnd = done === true
    this.#batch = done === true ? [] : value
    this.#at = 0
    for (const payloadId of this.#batch) {
      if (payloadId <= this.#last) throw new InternalError(`Cannot use the payload IDs of ${this.#what}: ${JSON.stringify(payloadId)} comes after ${JSON.stringify(this.#last)}`)
      this.#last = payloadId
    }
  }

  async close(): Promise<void> {
    await this.#batches.return?.()
  }
}

const BATCH_IDS = 1024

/** IDs one by one as batches. */
export async function* inBatches(payloadIds: AsyncIterable<string>): AsyncGenerator<readonly string[], void, undefined> {
  let batch: string[] = []
  for await (const payloadId of payloadIds) {
    batch.push(payloadId)
    if (batch.length < BATCH_IDS) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}
