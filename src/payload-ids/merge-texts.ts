/** Merges ascending payload IDs of any form as strings. */
import { Heap } from './heap.ts'
import { type IdList, idsOf, listOf } from './id-list.ts'
import { type IdLists, type MergedList, nextOf } from './merged-list.ts'

const BATCH_IDS = 8192

/** The IDs of all runs, and before those of each the ones of a list, in ascending order, each once. */
export async function* mergeTexts(runs: readonly IdLists[], lists: readonly (IdList | undefined)[]): AsyncGenerator<MergedList, void, undefined> {
  const cursors = runs.map((run, index) => new TextCursor(run, index, lists[index]))
  const found: TextCursor[] = []
  for (const cursor of cursors) if (cursor.step() || (await cursor.load())) found.push(cursor)
  const heap = new Heap(found, (left, right) => left.head < right.head)
  let batch: string[] = []
  let bits: number[] = []
  let last: string | undefined
  for (let first = heap.first; first !== undefined; first = heap.first) {
    if (first.head !== last) {
      if (batch.length >= BATCH_IDS) {
        yield { ...listOf(batch), runs: Uint32Array.from(bits) }
        batch = []
        bits = []
      }
      last = first.head
      batch.push(last)
      bits.push(0)
    }
    bits[bits.length - 1] = ((bits.at(-1) ?? 0) | first.bit) >>> 0
    if (first.step() || (await first.load())) heap.firstChanged()
    else heap.removeFirst()
  }
  if (batch.length > 0) yield { ...listOf(batch), runs: Uint32Array.from(bits) }
}

class TextCursor {
  /** The smallest ID that was not taken. */
  head = ''
  readonly bit: number
  readonly #run: IdLists
  #ids: readonly string[]
  #next = 0

  constructor(run: IdLists, index: number, list: IdList | undefined) {
    this.bit = 1 << index
    this.#run = run
    this.#ids = list === undefined ? [] : idsOf(list)
  }

  /** Steps within the list at hand; false when it is used up. */
  step(): boolean {
    const head = this.#ids[this.#next]
    if (head === undefined) return false
    this.head = head
    this.#next++
    return true
  }

  /** Gets the next list, and steps to its first ID; false at the end. */
  async load(): Promise<boolean> {
    const list = await nextOf(this.#run)
    if (list === undefined) return false
    this.#ids = idsOf(list)
    this.#next = 0
    return this.step()
  }
}
