/**
 * The least of some numbers, which change: a tournament. Each node of a binary tree has the lesser of the numbers below it; the leaves are
 * the numbers themselves, one for each run, infinite for one that has ended.
 */
export class KeyTree {
  readonly #leaves: number
  readonly #levels: number
  readonly #keys: Float64Array
  /** Leaves whose change the nodes above do not show yet. */
  readonly #changed: Int32Array
  #changes = 0

  constructor(runs: number) {
    this.#levels = Math.ceil(Math.log2(Math.max(2, runs)))
    this.#leaves = 2 ** this.#levels
    this.#keys = new Float64Array(2 * this.#leaves).fill(Number.POSITIVE_INFINITY)
    this.#changed = new Int32Array(this.#leaves)
  }

  /** Sets the number of a run, infinite when it has ended; call `update` before the least is asked for. */
  set(run: number, key: number): void {
    const leaf = this.#leaves + run
    this.#keys[leaf] = key
    if (this.#changes < this.#leaves) this.#changed[this.#changes] = leaf
    this.#changes++
  }

  /** Returns whether all runs have ended. */
  update(): boolean {
    const keys = this.#keys
    // Many changes at once cost less when every node is computed once.
    if (this.#changes * this.#levels >= this.#leaves) {
      for (let node = this.#leaves - 1; node > 0; node--) keys[node] = lesser(keys[2 * node] as number, keys[2 * node + 1] as number)
    } else {
      for (let index = 0; index < this.#changes; index++) {
        for (let node = (this.#changed[index] as number) >> 1; node > 0; node >>= 1) keys[node] = lesser(keys[2 * node] as number, keys[2 * node + 1] as number)
      }
    }
    this.#changes = 0
    return keys[1] === Number.POSITIVE_INFINITY
  }

  /** The least number of all runs but one. */
  leastBut(run: number): number {
    const keys = this.#keys
    let least = Number.POSITIVE_INFINITY
    for (let node = this.#leaves + run; node > 1; node >>= 1) {
      const beside = keys[node ^ 1] as number
      if (beside < least) least = beside
    }
    return least
  }

  /** Puts the runs that have the least number into `found`, in ascending order, and returns how many there are. */
  findLeast(found: Int32Array): number {
    const keys = this.#keys
    const leaves = this.#leaves
    const least = keys[1] as number
    let count = 0
    let node = 1
    for (;;) {
      while (node < leaves) node = 2 * node + (keys[2 * node] === least ? 0 : 1)
      found[count++] = node - leaves
      // Up, and to the next right side that has the least too.
      do {
        while (node % 2 === 1) node >>= 1
        if (node === 0) return count
        node += 1
      } while (keys[node] !== least)
    }
  }
}

function lesser(left: number, right: number): number {
  return left < right ? left : right
}
