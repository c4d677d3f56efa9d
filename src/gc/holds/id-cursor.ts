/** Looks up ascending payload IDs in a stream of others that ascend. */
import { compareAfterKey, keyAt } from '../../payload-ids/index.ts'
import { IdPage } from './id-page.ts'

/** A part of a stream: some IDs, and what the stream knows of them. */
export interface IdPart {
  readonly page: IdPage
}

const NO_IDS: IdPage = IdPage.of([])

/** A stream of ascending IDs in which pages of IDs are looked up in ascending order. Close it. */
export class IdCursor<Part extends IdPart> {
  readonly #parts: AsyncIterator<Part>
  /** The part at hand; `undefined` at the beginning and at the end. */
  #part: Part | undefined
  /** The first of its IDs that is not less than what was looked up last. */
  #at = 0
  #isAtEnd = false
  #places: Int32Array = new Int32Array(0)

  constructor(parts: AsyncIterable<Part>) {
    this.#parts = parts[Symbol.asyncIterator]()
  }

  /** Calls `onFound` for each ID of a page that the stream has, with the ID's place in the page, the part that has it, and its place there. */
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
   * Looks up the IDs of a page from one on, and notes the place of each: -1 for one that is not there. Returns the place of the first ID to which all of the
   * part are less, which is the count of the page when there is none.
   */
  #findInPart(page: IdPage, from: number): number {
    const known = this.#part?.page ?? NO_IDS
    return page.width > 0 && page.width === known.width ? this.#findPacked(page, known, from) : this.#findTexts(page, known, from)
  }

  /** Most IDs are passed over by a number alone. */
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
