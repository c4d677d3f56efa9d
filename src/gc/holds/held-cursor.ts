/** Looks up payloads among the held IDs, and counts how many each holder keeps. */
import type { Tally } from '../../contracts/payload-store.ts'
import type { Holder, HoldSource } from './hold-source.ts'
import type { HeldIds, HeldPart } from './held-ids.ts'
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

const WORD_BITS = 32

/** Looks up pages of IDs, which ascend. Close it. */
export class HeldCursor {
  readonly #held: HeldIds
  readonly #sources: readonly HoldSource[]
  /** For each stream of held IDs: its first word in a row of the mask, and how many words it has. */
  readonly #streams: readonly { readonly word: number; readonly words: number; readonly cursor: IdCursor<HeldPart> }[]
  /** The bits of each ID of the current page. */
  #rows: Uint32Array = new Uint32Array(0)
  /** Payloads and bytes, by bit. */
  readonly #all: Sums
  readonly #alone: Sums
  /** The row that `#payloads` were counted for: payloads in sequence mostly have the same one. */
  readonly #row: Uint32Array
  #payloads = 0
  #bytes = 0

  constructor(held: HeldIds, sources: readonly HoldSource[]) {
    this.#held = held
    this.#sources = sources
    this.#streams = held.streams().map((stream) => ({ ...stream, cursor: new IdCursor(stream.parts()) }))
    this.#row = new Uint32Array(held.mask.length)
    this.#all = new Sums(held.mask.length * WORD_BITS)
    this.#alone = new Sums(held.mask.length * WORD_BITS)
  }

  /** Looks up the next page. */
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

  /** Whether the ID at a place of the page is held. */
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
    this.#payloads += 1
    this.#bytes += bytes
  }

  /** The counts of all holders that have some. */
  heldBy(): readonly HeldBy[] {
    this.#endRow()
    const found: HeldBy[] = []
    for (const { name, holders } of this.#sources) {
      const bit = this.#held.sets.findIndex((set) => set?.sha256 === name.sha256 && set.bytes === name.bytes)
      const payloads = this.#all.of(bit)
      const alone = holders.length === 1 ? this.#alone.of(bit) : NONE
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
    for (const bit of bits) this.#all.add(bit, this.#payloads, this.#bytes)
    if (bits.length === 1) this.#alone.add(bits[0] ?? 0, this.#payloads, this.#bytes)
    this.#payloads = 0
    this.#bytes = 0
  }
}

const NONE: Tally = { payloads: 0, bytes: 0 }

class Sums {
  readonly #payloads: Float64Array
  readonly #bytes: Float64Array

  constructor(bits: number) {
    this.#payloads = new Float64Array(bits)
    this.#bytes = new Float64Array(bits)
  }

  add(bit: number, payloads: number, bytes: number): void {
    this.#payloads[bit]! += payloads
    this.#bytes[bit]! += bytes
  }

  of(bit: number): Tally {
    return { payloads: this.#payloads[bit] ?? 0, bytes: this.#bytes[bit] ?? 0 }
  }
}
