/** Reads ascending payload IDs beside others that ascend. */
import { InternalError } from '../../errors/errors.ts'

/** A stream of ascending IDs in which IDs are looked up in ascending order. */
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

  /** Sets to 1 what is found of some ascending IDs, which come after those of the call before. Rejects as `load` does. */
  async find(payloadIds: readonly string[], isFound: Uint8Array): Promise<void> {
    for (let from = 0; ; ) {
      from = this.#findInBatch(payloadIds, from, isFound)
      if (from === payloadIds.length || this.#isAtEnd) return
      await this.load()
    }
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

  /** Returns the place of the first ID to which all of the batch are less. */
  #findInBatch(payloadIds: readonly string[], from: number, isFound: Uint8Array): number {
    const batch = this.#batch
    let at = this.#at
    let next = from
    for (; next < payloadIds.length; next++) {
      const payloadId = payloadIds[next] as string
      while (at < batch.length && (batch[at] as string) < payloadId) at++
      if (at === batch.length) break
      if (batch[at] === payloadId) isFound[next] = 1
    }
    this.#at = at
    return next
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
