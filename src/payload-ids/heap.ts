/** A binary heap: its first item is before all others. */
export class Heap<T> {
  readonly #items: T[] = []
  readonly #isBefore: (left: T, right: T) => boolean

  constructor(items: readonly T[], isBefore: (left: T, right: T) => boolean) {
    this.#isBefore = isBefore
    // What is sorted is a heap.
    this.#items = items.toSorted((left, right) => (isBefore(left, right) ? -1 : 1))
  }

  get first(): T | undefined {
    return this.#items[0]
  }

  removeFirst(): void {
    const last = this.#items.pop()
    if (last === undefined || this.#items.length === 0) return
    this.#items[0] = last
    this.firstChanged()
  }

  /** Moves the first item, which grew, to where it belongs. */
  firstChanged(): void {
    const items = this.#items
    const moved = items[0] as T
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= items.length) break
      if (child + 1 < items.length && this.#isBefore(items[child + 1] as T, items[child] as T)) child++
      if (!this.#isBefore(items[child] as T, moved)) break
      items[at] = items[child] as T
      at = child
    }
    items[at] = moved
  }
}
