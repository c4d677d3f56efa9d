/** Reads what is held beside a list of payloads, and counts for whom. */
import type { IdList } from '../../payload-ids/id-list.ts'
import type { Tally } from '../../contracts/payload-store.ts'
import type { Holder, HoldSource } from './hold-source.ts'
import type { HeldIds, HeldList, HeldStream } from './held-ids.ts'
import type { IdPage } from './id-page.ts'
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

/** Looks up pages of IDs, which ascend. Close it. */
export class HeldCursor {
  readonly #held: HeldIds
  readonly #sources: readonly HoldSource[]
  readonly #streams: readonly StreamCursor[]
  /** Of the page at hand, the bits of each ID. */
  #rows: Uint32Array = new Uint32Array(0)
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
    this.#streams = held.streams().map((stream) => new StreamCursor(stream, held.mask))
    this.#row = new Uint32Array(held.mask.length)
    this.#all = new Sums(held.mask.length * WORD_BITS)
    this.#alone = new Sums(held.mask.length * WORD_BITS)
  }

  /** Looks up the next page. */
  async find(page: IdPage): Promise<void> {
    this.#rows = new Uint32Array(page.count * this.#row.length)
    for (const stream of this.#streams) await stream.find(page, this.#rows)
  }

  /** Whether an ID of the page, by its place, is held. */
  has(index: number): boolean {
    const words = this.#row.length
    for (let at = index * words; at < (index + 1) * words; at++) if (this.#rows[at] !== 0) return true
    return false
  }

  /** Counts a payload of so many bytes, by the place of its ID in the page, for each of its holders. */
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
      await Promise.all(this.#streams.map((stream) => stream.close()))
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

/** One of the streams of what is held. */
class StreamCursor {
  readonly #stream: HeldStream
  readonly #mask: Uint32Array
  readonly #lists: AsyncIterator<HeldList>
  #cursor = new ListCursor(NO_IDS)
  /** Of the list at hand. */
  #rows: Uint32Array = new Uint32Array(0)
  #isAtEnd = false
  #places: Int32Array = new Int32Array(0)

  constructor(stream: HeldStream, mask: Uint32Array) {
    this.#stream = stream
    this.#mask = mask
    this.#lists = stream.lists()
  }

  /** Puts the bits that the stream knows of into the rows of a page. */
  async find(page: IdPage, rows: Uint32Array): Promise<void> {
    if (this.#places.length < page.count) this.#places = new Int32Array(page.count)
    for (let from = 0; ; ) {
      const end = this.#cursor.find(page, from, this.#places)
      this.#copyRows(from, end, rows)
      from = end
      if (from === page.count || !(await this.#load())) return
    }
  }

  async close(): Promise<void> {
    await this.#lists.return?.()
  }

  #copyRows(from: number, end: number, rows: Uint32Array): void {
    const { word: first, words } = this.#stream
    const [places, source, mask] = [this.#places, this.#rows, this.#mask]
    for (let index = from; index < end; index++) {
      const place = places[index] as number
      if (place < 0) continue
      for (let word = 0; word < words; word++) rows[index * mask.length + first + word]! |= (source[place * words + word] as number) & (mask[first + word] as number)
    }
  }

  /** Gets the next IDs; false at the end. */
  async #load(): Promise<boolean> {
    if (this.#isAtEnd) return false
    const { done, value } = await this.#lists.next()
    this.#isAtEnd = done === true
    this.#cursor = new ListCursor(done === true ? NO_IDS : value.list)
    this.#rows = done === true ? new Uint32Array(0) : value.rows
    return !this.#isAtEnd
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
