/**
 * Finds the least of some changing numbers: a tournament tree. Each node has the lesser of the numbers below.
 * The leaves are the numbers, one for each run; infinite for a run that has ended.
 */
export class KeyTree {
  readonly #leaves: number
  readonly #keys: Float64Array

  constructor(runs: number) {
    this.#leaves = 2 ** Math.ceil(Math.log2(Math.max(2, runs)))
    this.#keys = new Float64Array(2 * this.#leaves).fill(Number.POSITIVE_INFINITY)
  }

  set(run: number, key: number): void {
    const keys = this.#keys
    keys[this.#leaves + run] = key
    for (let node = (this.#leaves + run) >> 1; node > 0; node >>= 1) {
      const left = keys[2 * node] as number
      const right = keys[2 * node + 1] as number
      const least = left < right ? left : right
      if (keys[node] === least) return
      keys[node] = least
    }
  }

  /** Puts the runs with the least number into `found`, in ascending order. Returns how many there are; 0 when all have ended. */
  findLeast(found: Int32Array): number {
    const keys = this.#keys
    const leaves = this.#leaves
    const least = keys[1] as number
    if (least === Number.POSITIVE_INFINITY) return 0
    let count = 0
    let node = 1
    for (;;) {
      while (node < leaves) node = 2 * node + (keys[2 * node] === least ? 0 : 1)
      found[count++] = node - leaves
      // Go up, and to the next right side that has the least number too.
      do {
        while (node % 2 === 1) node >>= 1
        if (node === 0) return count
        node += 1
      } while (keys[node] !== least)
    }
  }
}
