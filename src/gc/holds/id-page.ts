/** A page of payload IDs in ascending order: what is looked up, and what is looked up in. */
import { compareAfterKey, type IdList, idsOf, keyAt, packIds } from '../../payload-ids/index.ts'

/** IDs as text, and packed as bytes when all of them are lower-case hex of one length. */
export class IdPage {
  readonly count: number
  /** Bytes of a packed ID; 0 when these are not packed. */
  readonly width: number
  readonly bytes: Buffer
  readonly #list: IdList | undefined
  #payloadIds: readonly string[] | undefined

  private constructor(list: IdList | undefined, payloadIds: readonly string[] | undefined) {
    this.count = payloadIds?.length ?? list?.count ?? 0
    this.width = list?.width ?? 0
    this.bytes = list?.bytes ?? Buffer.alloc(0)
    this.#list = list
    this.#payloadIds = payloadIds
  }

  static of(payloadIds: readonly string[]): IdPage {
    return new IdPage(packIds(payloadIds), payloadIds)
  }

  static from(list: IdList): IdPage {
    return new IdPage(list, undefined)
  }

  get payloadIds(): readonly string[] {
    return (this.#payloadIds ??= this.#list === undefined ? [] : idsOf(this.#list))
  }

  /** The place of the first ID that is not greater than its predecessor (`after` for the first); -1 when all ascend. */
  disorderAfter(after: string | undefined): number {
    if (this.count > 0 && (this.payloadIds[0] as string) <= (after ?? '')) return 0
    return this.width > 0 ? this.#packedDisorder() : this.payloadIds.findIndex((payloadId, index) => index > 0 && payloadId <= (this.payloadIds[index - 1] as string))
  }

  #packedDisorder(): number {
    const { bytes, width, count } = this
    let last = -1
    for (let index = 0, at = 0; index < count; index++, at += width) {
      const key = keyAt(bytes, at, width)
      if (key < last || (key === last && compareAfterKey(bytes, at - width, { right: bytes, rightAt: at, width }) >= 0)) return index
      last = key
    }
    return -1
  }
}
