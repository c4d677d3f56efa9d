/** Reads ascending payload IDs as they are packed beside text IDs that ascend. */
import { compareFromKey, KEY_BYTES, keyAt, keyOfText } from '../payload-ids/id-key.ts'
import { type IdList, idsOf } from '../payload-ids/id-list.ts'

/** A list that is asked for IDs in ascending order. */
export class ListCursor {
  /** Which of the IDs was found last, or the first that is greater. */
  index = 0
  readonly #list: IdList
  #texts: readonly string[] | undefined

  constructor(list: IdList) {
    this.#list = list
  }

  /** Whether the list has an ID; `undefined` when all of its IDs are less. */
  has(payloadId: string): boolean | undefined {
    const key = this.#list.width >= KEY_BYTES ? keyOfText(payloadId) : undefined
    return key === undefined ? this.#hasText(payloadId) : this.#hasKey(payloadId, key)
  }

  /** Most IDs are passed over by a number alone. */
  #hasKey(payloadId: string, key: number): boolean | undefined {
    const { bytes, width, count } = this.#list
    let index = this.index
    let order = -1
    for (; index < count; index++) {
      order = keyAt(bytes, index * width, width) - key
      if (order === 0) order = compareFromKey(bytes, index * width, { width, text: payloadId })
      if (order >= 0) break
    }
    this.index = index
    return index < count ? order === 0 : undefined
  }

  #hasText(payloadId: string): boolean | undefined {
    const texts = (this.#texts ??= idsOf(this.#list))
    let index = this.index
    while (index < texts.length && (texts[index] as string) < payloadId) index++
    this.index = index
    return index < texts.length ? texts[index] === payloadId : undefined
  }
}
