/** Looks up ascending payload IDs in a stream of ascending IDs. */
import { compareAfterKey, keyAt } from '../../payload-ids/index.ts'
import { IdPage } from './id-page.ts'

/** A part of a stream: some IDs, and what the stream knows of them. */
export interface IdPart {
  readonly page: IdPage
}

const NO_IDS: IdPage = IdPage.of([])

/** A stream of ascending IDs in which ascending pages of IDs are looked up. The caller closes it. */
export class IdCursor<Part extends IdPart> {
  readonly #parts: AsyncIterator<Part>
  /** The current part; `undefined` at the beginning and at the end. */
  #part: Part | undefined
  /** The place in the part of the first ID that is not less than the last one looked up. */
  #at = 0
  #isAtEnd = false
  #places: Int32Array = new Int32Array(0)

  constructor(parts: AsyncIterable<Part>) {
    this.#parts = parts[Symbol.asyncIterator]()
  }

  /**
   * Calls `onFound` for each ID of a page that the stream has, with its place in the page, the part that has it, and its place in the part.
   */
  async find(page: IdPage, onFound: (index: number, part: Part, place: number) => void): Promise<void> {
    if (this.#places.length < page.count) this.#places = new Int32Array(page.count)
    for (let from = 0; ; ) {
      const part = this.#part
      const end = this.#findInPart(page, from)
      if (part !== undefined) {
        for (let index = from; index < end; index++) if ((this.#places[index] as number) >= 0) onFound(index, part, this.#places[index] as number)
      }
      from = end
      if (from === page.count || !(await this.load())) return
    }
  }

  /** Gets the next part; false at the end. */
  async load(): Promise<boolean> {
    if (this.#isAtEnd) return false
    const { done, value } = await this.#parts.next()
    this.#isAtEnd = done === true
    this.#part = done === true ? undefined : value
    this.#at = 0
    return !this.#isAtEnd
  }

  async close(): Promise<void> {
    await this.#parts.return?.()
  }

  /**
   * Looks up the IDs of a page in the current part, beginning at `from`, and notes the place of each, -1 for an ID that is not there.
   * Returns the place of the first ID that is greater than all of the part; the count of the page when there is none.
   */
  #findInPart(page: IdPage, from: number): number {
    const known = this.#part?.page ?? NO_IDS
    return page.width > 0 && page.width === known.width ? this.#findPacked(page, known, from) : this.#findTexts(page, known, from)
  }

  /** Looks up packed IDs. A comparison of two numbers settles most of them. */
  #findPacked({ bytes: wanted, width, count: wantedCount }: IdPage, { bytes, count }: IdPage, from: number): number {
    let at = this.#at
    let next = from
    for (; next < wantedCount; next++) {
      const wantedAt = next * width
      const wantedKey = keyAt(wanted, wantedAt, width)
      let order = -1
      for (; at < count; at++) {
        order = keyAt(bytes, at * width, width) - wantedKey
        if (order === 0) order = compareAfterKey(bytes, at * width, { right: wanted, rightAt: wantedAt, width })
        if (order >= 0) break
      }
      if (at === count) break
      this.#places[next] = order === 0 ? at : -1
    }
    this.#at = at
    return next
  }

  #findTexts({ payloadIds, count }: IdPage, { payloadIds: texts }: IdPage, from: number): number {
    let at = this.#at
    let next = from
    for (; next < count; next++) {
      const wanted = payloadIds[next] as string
      while (at < texts.length && (texts[at] as string) < wanted) at++
      if (at === texts.length) break
      this.#places[next] = texts[at] === wanted ? at : -1
    }
    this.#at = at
    return next
  }
}
