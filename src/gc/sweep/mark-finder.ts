/** Finds the marks of earlier sweeps while payloads are listed. */
import type { StoredPayload } from '../../contracts/payload-store.ts'
import type { Mark } from '../sweep-state.ts'

/** Finds marks by payloads in ascending order. The caller closes it. */
export class MarkFinder {
  /** The last payload that was listed; `undefined` at the beginning and at the end. */
  after: string | undefined
  readonly #batches: AsyncIterator<readonly Mark[]>
  #batch: readonly Mark[] = []
  #at = 0
  #isAtEnd = false

  /** `after` is the payload at which an earlier sweep was stopped: its marks up to there stay. */
  constructor(marks: AsyncIterable<readonly Mark[]>, after: string | undefined) {
    this.after = after
    this.#batches = marks[Symbol.asyncIterator]()
  }

  /** The marks up to the payload at which marking continues. */
  async *before(): AsyncGenerator<readonly Mark[], void, undefined> {
    const { after } = this
    if (after !== undefined) yield* this.#take((mark) => mark.payloadId <= after)
  }

  /** The marks of payloads after the last one listed. */
  async *rest(): AsyncGenerator<readonly Mark[], void, undefined> {
    const { after = '' } = this
    for await (const marks of this.#take(() => true)) yield marks.filter(({ payloadId }) => payloadId > after)
  }

  /** The mark of a payload, or a new one. Another version counts as another payload. */
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
