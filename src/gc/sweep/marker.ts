/** Reads the marks of earlier sweeps along with the list of payloads. */
import type { StoredPayload } from '../../contracts/payload-store.ts'
import type { Mark } from './sweep-state.ts'

/** Asked for payloads in ascending order. Close it. */
export class Marker {
  /** Up to where payloads were listed; `undefined` at the beginning, and at the end. */
  after: string | undefined
  readonly #batches: AsyncIterator<readonly Mark[]>
  #batch: readonly Mark[] = []
  #at = 0
  #isAtEnd = false

  /** `after` is where an earlier sweep was stopped: what it marked up to there stays as it is. */
  constructor(marks: AsyncIterable<readonly Mark[]>, after: string | undefined) {
    this.after = after
    this.#batches = marks[Symbol.asyncIterator]()
  }

  /** The marks up to where the marking continues. */
  async *before(): AsyncGenerator<readonly Mark[], void, undefined> {
    const { after } = this
    if (after !== undefined) yield* this.#take((mark) => mark.payloadId <= after)
  }

  /** All marks that were not asked for. */
  async *rest(): AsyncGenerator<readonly Mark[], void, undefined> {
    const { after = '' } = this
    for await (const marks of this.#take(() => true)) yield marks.filter(({ payloadId }) => payloadId > after)
  }

  /** The mark that a payload has, or a new one. Another version is another payload. */
  async markOf({ payloadId, version, bytes }: StoredPayload, nowMs: number): Promise<Mark> {
    for (;;) {
      while (this.#at < this.#batch.length && (this.#batch[this.#at] as Mark).payloadId < payloadId) this.#at++
      const mark = this.#batch[this.#at]
      if (mark?.payloadId === payloadId && mark.version === version && mark.markedAtMs <= nowMs) return mark
      if (mark !== undefined || !(await this.#load())) return { payloadId, version, bytes, markedAtMs: nowMs }
    }
  }

  async close(): Promise<void> {
    await this.#batches.return?.()
  }

  async *#take(belongs: (mark: Mark) => boolean): AsyncGenerator<readonly Mark[], void, undefined> {
    for (;;) {
      const taken: Mark[] = []
      for (let mark = this.#batch[this.#at]; mark !== undefined && belongs(mark); mark = this.#batch[++this.#at]) taken.push(mark)
      if (taken.length > 0) yield taken
      if (this.#at < this.#batch.length || !(await this.#load())) return
    }
  }

  async #load(): Promise<boolean> {
    if (this.#isAtEnd) return false
    const { done, value } = await this.#batches.next()
    this.#isAtEnd = done === true
    this.#batch = done === true ? [] : value
    this.#at = 0
    return !this.#isAtEnd
  }
}
