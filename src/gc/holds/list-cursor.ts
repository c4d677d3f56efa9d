/** Reads ascending payload IDs as they are packed beside others that ascend. */
import { compareAfterKey, keyAt } from '../../payload-ids/id-key.ts'
import { type IdList, idsOf } from '../../payload-ids/id-list.ts'
import type { IdPage } from './id-page.ts'

/** A list in which IDs are looked up in ascending order. */
export class ListCursor {
  readonly #list: IdList
  #texts: readonly string[] | undefined
  /** The first of the IDs that is not less than what was looked up last. */
  #index = 0

  constructor(list: IdList) {
    this.#list = list
  }

  /**
   * Looks up the IDs of a page from one on, and puts where each is into `places`: -1 for one that is not in the list. Returns the place of the first
   * ID to which all of the list are less, which is the count of the page when there is none.
   */
  find(page: IdPage, from: number, places: Int32Array): number {
    return page.width > 0 && page.width === this.#list.width ? this.#findPacked(page, from, places) : this.#findTexts(page, from, places)
  }

  /** Most IDs are passed over by a number alone. */
  #findPacked({ bytes: wanted, width, count: wantedCount }: IdPage, from: number, places: Int32Array): number {
    const { bytes, count } = this.#list
    let index = this.#index
    let next = from
    for (; next < wantedCount; next++) {
      const wantedAt = next * width
      const wantedKey = keyAt(wanted, wantedAt, width)
      let order = -1
      for (; index < count; index++) {
        order = keyAt(bytes, index * width, width) - wantedKey
        if (order === 0) order = compareAfterKey(bytes, index * width, { right: wanted, rightAt: wantedAt, width })
        if (order >= 0) break
      }
      if (index === count) break
      places[next] = order === 0 ? index : -1
    }
    this.#index = index
    return next
  }

  #findTexts({ payloadIds, count }: IdPage, from: number, places: Int32Array): number {
    const texts = (this.#texts ??= idsOf(this.#list))
    let index = this.#index
    let next = from
    for (; next < count; next++) {
      const wanted = payloadIds[next] as string
      while (index < texts.length && (texts[index] as string) < wanted) index++
      if (index === texts.length) break
      places[next] = texts[index] === wanted ? index : -1
    }
    this.#index = index
    return next
  }
}
