/** Hashes of 64 bits, of payload IDs and who refers to them: many times as fast as a digest, for what nobody forges. */

/** Odd, with bits in no order. */
const [LOW_FACTOR, HIGH_FACTOR, LOW_END, HIGH_END] = [0x9e3779b1, 0x85ebca77, 0xc2b2ae3d, 0x27d4eb2f] as const

const BACKSLASH = 0x5c
/** A backslash in each byte; and what finds a byte that is zero. */
const [BACKSLASHES, LOWEST_BITS, HIGHEST_BITS] = [0x5c5c5c5c, 0x01010101, 0x80808080 | 0] as const

/** 64 bits as two signed integers. */
export interface Hash64 {
  readonly low: number
  readonly high: number
}

/** The hash of one pair. Texts are ASCII; `begin`, then `absorb` and `mark` for each of its parts, then `end`. */
export class PairHash implements Hash64 {
  low = 0
  high = 0
  /** Other than 0 when a backslash was absorbed since `begin`, or, seldom, when there was none. */
  backslashes = 0

  /** What tells pairs apart whose texts run on the same. */
  begin(idLength: number): void {
    this.low = idLength
    this.high = ~idLength
    this.backslashes = 0
  }

  /** Four characters at a time, each step with an inverse: pairs that differ in four characters only never have the same hash. */
  absorb(text: string, from: number, to: number): void {
    let low = this.low
    let high = this.high
    let backslashes = this.backslashes
    let at = from
    for (; at + 4 <= to; at += 4) {
      const word = text.charCodeAt(at) | (text.charCodeAt(at + 1) << 8) | (text.charCodeAt(at + 2) << 16) | (text.charCodeAt(at + 3) << 24)
      low = Math.imul(low ^ word, LOW_FACTOR)
      low = (low << 15) | (low >>> 17)
      high = Math.imul(high ^ word, HIGH_FACTOR)
      high = (high << 13) | (high >>> 19)
      // Carries of a byte that is one may find another in the next.
      const other = word ^ BACKSLASHES
      backslashes |= (other - LOWEST_BITS) & ~other & HIGHEST_BITS
    }
    for (; at < to; at++) {
      const word = text.charCodeAt(at)
      low = Math.imul(low ^ word, LOW_FACTOR)
      low = (low << 15) | (low >>> 17)
      high = Math.imul(high ^ word, HIGH_FACTOR)
      high = (high << 13) | (high >>> 19)
      if (word === BACKSLASH) backslashes = 1
    }
    this.backslashes = backslashes
    this.low = low
    this.high = high
  }

  /** Takes in one character. */
  mark(character: number): void {
    this.low = Math.imul(this.low ^ character, LOW_FACTOR)
    this.high = Math.imul(this.high ^ character, HIGH_FACTOR)
  }

  end(): void {
    const low = Math.imul(this.low ^ (this.low >>> 16), LOW_END)
    const high = Math.imul(this.high ^ (this.high >>> 16), HIGH_END)
    this.low = low ^ (high >>> 15)
    this.high = high ^ (low >>> 13)
  }
}

/** How many hashes there are and their sums: equal for the same ones in any order. */
export class PairSum {
  count = 0
  #low = 0
  #high = 0

  add({ low, high }: Hash64): void {
    this.count++
    this.#low = (this.#low + low) | 0
    this.#high = (this.#high + high) | 0
  }

  equals(other: PairSum): boolean {
    return this.count === other.count && this.#low === other.#low && this.#high === other.#high
  }
}

const FIRST_PAIRS = 1024

/** Hashes of which some come several times: 8 bytes each. */
export class PairList {
  #lanes = new Int32Array(2 * FIRST_PAIRS)
  #count = 0

  add({ low, high }: Hash64): void {
    if (2 * this.#count === this.#lanes.length) {
      const lanes = new Int32Array(2 * this.#lanes.length)
      lanes.set(this.#lanes)
      this.#lanes = lanes
    }
    this.#lanes[2 * this.#count] = low
    this.#lanes[2 * this.#count + 1] = high
    this.#count++
  }

  /** Adds each of them once to a sum, and forgets them. */
  moveTo(sum: PairSum): void {
    const lanes = this.#lanes
    if (this.#count > 1) new BigUint64Array(lanes.buffer, 0, this.#count).sort()
    for (let at = 0; at < 2 * this.#count; at += 2) {
      const [low, high] = [lanes[at] ?? 0, lanes[at + 1] ?? 0]
      if (at === 0 || low !== lanes[at - 2] || high !== lanes[at - 1]) sum.add({ low, high })
    }
    this.#count = 0
  }
}
