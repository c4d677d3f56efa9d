/** Reads what is held beside a list of payloads, and counts for whom. */
import type { IdList } from '../payload-ids/id-list.ts'
import type { Tally } from '../payload-store.ts'
import type { Holder, HoldSource } from './hold-set.ts'
import { type HeldIds, type HeldList, isInRow } from './hold-union.ts'
import { ListCursor } from './list-cursor.ts'

/** What a holder keeps from being deleted. */
export interface HeldBy {
  readonly holder: Holder
  /** Payloads that no store refers to, and that this holder needs. */
  readonly payloads: Tally
  /** Of these, those that no other holder needs: what deleting it would set free. */
  readonly alone: Tally
}

const WORD_BITS = 32
const NO_IDS: IdList = { width: 0, count: 0, bytes: Buffer.alloc(0) }

/** Asked for IDs in ascending order. Close it. */
export class HeldCursor {
  readonly #held: HeldIds
  readonly #sources: readonly HoldSource[]
  readonly #lists: AsyncIterator<HeldList>
  #cursor = new ListCursor(NO_IDS)
  /** Of the list at hand. */
  #rows: Uint32Array = new Uint32Array(0)
  #isAtEnd = false
  /** By bit, payloads and bytes. */
  readonly #all: Sums
  readonly #alone: Sums
  /** Payloads that were counted for one and the same row, which most that follow one another have. */
  readonly #row: Uint32Array
  #payloads = 0
  #bytes = 0

  constructor(held: HeldIds, sources: readonly HoldSource[]) {
    this.#held = held
    this.#sources = sources
    this.#lists = held.lists()
    this.#row = new Uint32Array(held.mask.length)
    this.#all = new Sums(held.mask.length * WORD_BITS)
    this.#alone = new Sums(held.mask.length * WORD_BITS)
  }

  /** Whether an ID is held; `undefined` when `load` must be called first. */
  has(payloadId: string): boolean | undefined {
    const { mask } = this.#held
    const isThere = this.#cursor.has(payloadId)
    if (isThere === undefined) return this.#isAtEnd ? false : undefined
    return isThere && isInRow(this.#rows, this.#cursor.index * mask.length, mask)
  }

  /** Gets the next IDs. */
  async load(): Promise<void> {
    const { done, value } = await this.#lists.next()
    this.#isAtEnd = done === true
    this.#cursor = new ListCursor(done === true ? NO_IDS : value.list)
    this.#rows = done === true ? new Uint32Array(0) : value.rows
  }

  /** Counts a payload of so many bytes, whose ID was just found, for each of its holders. */
  count(bytes: number): void {
    const row = this.#row
    const from = this.#cursor.index * row.length
    for (let word = 0; word < row.length; word++) {
      if (row[word] === this.#rows[from + word]) continue
      this.#endRow()
      row.set(this.#rows.subarray(from, from + row.length))
      break
    }
    this.#payloads += 1
    this.#bytes += bytes
  }

  /** What was counted, of holders that have some. */
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
      await this.#lists.return?.()
    } finally {
      await this.#held.close()
    }
  }

  #endRow(): void {
    const bits: number[] = []
    for (const [word, value] of this.#row.entries()) {
      for (let left = (value & (this.#held.mask[word] ?? 0)) >>> 0; left !== 0; left = (left & (left - 1)) >>> 0) bits.push(word * WORD_BITS + 31 - Math.clz32(left & -left))
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
