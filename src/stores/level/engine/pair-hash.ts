/** 64-bit hashes of payload IDs and what refers to them: many times as fast as a digest, where forgery does not matter. */

/** Odd numbers with irregular bits. */
const LOW_FACTOR = 0x9e3779b1
const HIGH_FACTOR = 0x85ebca77
const LOW_END = 0xc2b2ae3d
const HIGH_END = 0x27d4eb2f

/** 64 bits as two signed integers. */
export interface Hash64 {
  readonly low: number
  readonly high: number
}

/** The hash of one pair: `begin`, then `absorb` and `mark` for each of its parts, then `end`. */
export class PairHash implements Hash64 {
  low = 0
  high = 0

  /** Begins with the length of the first part, so that the boundary between the parts counts. */
  begin(length: number): void {
    this.low = length
    this.high = ~length
  }

  /** Takes in bytes, four at a time. Each step is invertible: parts that differ in only four bytes never have the same hash. */
  absorb(bytes: DataView, from: number, to: number): void {
    let { low, high } = this
    let at = from
    for (; at + 4 <= to; at += 4) {
      const word = bytes.getInt32(at, true)
      low = Math.imul(low ^ word, LOW_FACTOR)
      low = (low << 15) | (low >>> 17)
      high = Math.imul(high ^ word, HIGH_FACTOR)
      high = (high << 13) | (high >>> 19)
    }
    this.low = low
    this.high = high
    for (; at < to; at++) this.mark(bytes.getUint8(at))
  }

  /** Takes in one byte. */
  mark(byte: number): void {
    const low = Math.imul(this.low ^ byte, LOW_FACTOR)
    const high = Math.imul(this.high ^ byte, HIGH_FACTOR)
    this.low = (low << 15) | (low >>> 17)
    this.high = (high << 13) | (high >>> 19)
  }

  end(): void {
    const low = Math.imul(this.low ^ (this.low >>> 16), LOW_END)
    const high = Math.imul(this.high ^ (this.high >>> 16), HIGH_END)
    this.low = low ^ (high >>> 15)
    this.high = high ^ (low >>> 13)
  }
}

/** The number of hashes and their sums: equal for the same hashes in any order. */
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

/** A list of hashes with repetitions, 8 bytes each. */
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

  /** Adds each distinct hash to a sum, and empties the list. */
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
