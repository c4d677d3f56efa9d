/** Payload IDs that are looked up together. */
import { compareAfterKey, keyAt } from '../../payload-ids/id-key.ts'
import { packedIds } from '../../payload-ids/id-list.ts'

/** Some IDs in ascending order, packed when all of them are lower-case hex of one length. */
export class IdPage {
  readonly payloadIds: readonly string[]
  /** Bytes of a packed ID; 0 when these are not packed. */
  readonly width: number
  readonly bytes: Buffer

  constructor(payloadIds: readonly string[]) {
    const list = packedIds(payloadIds)
    this.payloadIds = payloadIds
    this.width = list?.width ?? 0
    this.bytes = list?.bytes ?? Buffer.alloc(0)
  }

  get count(): number {
    return this.payloadIds.length
  }

  /** The place of the first ID that is not greater than the one before it, which is `after` for the first; -1 when all are. */
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
