/** Looks up payloads among the held IDs, and counts how many each holder keeps. */
import type { Tally } from '../../contracts/payload-store.ts'
import type { Holder, HoldSource } from './hold-source.ts'
import { type HeldIds, type HeldPart, WORD_BITS } from './held-ids.ts'
import { IdCursor } from './id-cursor.ts'
import type { IdPage } from './id-page.ts'

/** What a holder keeps from being deleted. */
export interface HeldBy {
  readonly holder: Holder
  /** Payloads that this holder needs and no store refers to. */
  readonly payloads: Tally
  /** The payloads that only this holder needs: what deleting the holder would set free. */
  readonly alone: Tally
}

const NONE: Tally = { payloads: 0, bytes: 0 }

/** Looks up pages of IDs, which ascend. Close it. */
export class HeldCursor {
  readonly #held: HeldIds
  readonly #sources: readonly HoldSource[]
  /** For each stream of held IDs: its first word in a row of the mask, and how many words it has. */
  readonly #streams: readonly { readonly word: number; readonly words: number; readonly cursor: IdCursor<HeldPart> }[]
  /** The bits of each ID of the current page. */
  #rows: Uint32Array = new Uint32Array(0)
  /** Payloads and bytes, by bit. */
  readonly #all: readonly Sum[]
  readonly #alone: readonly Sum[]
  /** The row that `#ofRow` was counted for: payloads in sequence mostly have the same one. */
  readonly #row: Uint32Array
  #ofRow: Sum = { ...NONE }

  constructor(held: HeldIds, sources: readonly HoldSource[]) {
    this.#held = held
    this.#sources = sources
    this.#streams = held.streams().map((stream) => ({ ...stream, cursor: new IdCursor(stream.parts()) }))
    this.#row = new Uint32Array(held.mask.length)
    const sums = (): Sum[] => Array.from({ length: held.mask.length * WORD_BITS }, () => ({ ...NONE }))
    this.#all = sums()
    this.#alone = sums()
  }

  async find(page: IdPage): Promise<void> {
    const { mask } = this.#held
    const rows = new Uint32Array(page.count * mask.length)
    for (const { word, words, cursor } of this.#streams) {
      await cursor.find(page, (index, part, place) => {
        const [to, from] = [index * mask.length + word, place * words]
        for (let at = 0; at < words; at++) rows[to + at]! |= (part.rows[from + at] as number) & (mask[word + at] as number)
      })
    }
    this.#rows = rows
  }

  has(index: number): boolean {
    const words = this.#row.length
    for (let at = index * words; at < (index + 1) * words; at++) if (this.#rows[at] !== 0) return true
    return false
  }

  /** Counts the payload at a place of the page, for each of its holders. */
  count(index: number, bytes: number): void {
    const row = this.#row
    const from = index * row.length
    for (let word = 0; word < row.length; word++) {
      if (row[word] === this.#rows[from + word]) continue
      this.#endRow()
      row.set(this.#rows.subarray(from, from + row.length))
      break
    }
    this.#ofRow.payloads += 1
    this.#ofRow.bytes += bytes
  }

  /** The counts of all holders that have some. */
  heldBy(): readonly HeldBy[] {
    this.#endRow()
    const found: HeldBy[] = []
    for (const { name, holders } of this.#sources) {
      const bit = this.#held.sets.findIndex((set) => set?.sha256 === name.sha256 && set.bytes === name.bytes)
      const payloads = this.#all[bit] ?? NONE
      const alone = (holders.length === 1 ? this.#alone[bit] : undefined) ?? NONE
      if (payloads.payloads > 0) found.push(...holders.map((holder) => ({ holder, payloads, alone })))
    }
    return found
  }

  async close(): Promise<void> {
    try {
      await Promise.all(this.#streams.map(({ cursor }) => cursor.close()))
    } finally {
      await this.#held.close()
    }
  }

  #endRow(): void {
    const bits: number[] = []
    for (const [word, value] of this.#row.entries()) {
      for (let left = value; left !== 0; left = (left & (left - 1)) >>> 0) bits.push(word * WORD_BITS + 31 - Math.clz32(left & -left))
    }
    for (const bit of bits) addTo(this.#all[bit], this.#ofRow)
    if (bits.length === 1) addTo(this.#alone[bits[0] ?? 0], this.#ofRow)
    this.#ofRow = { ...NONE }
  }
}

type Sum = { -readonly [Field in keyof Tally]: Tally[Field] }

function addTo(sum: Sum | undefined, { payloads, bytes }: Tally): void {
  if (sum === undefined) return
  sum.payloads += payloads
  sum.bytes += bytes
}
