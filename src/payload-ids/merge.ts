/** Merges ascending lists of payload IDs into one. */
import { type IdList, idsOf, listOf } from './id-list.ts'
import { copyId } from './sort-packed.ts'

export type IdLists = AsyncGenerator<IdList, void, undefined>

/** Some milliseconds of work. */
const BATCH_IDS = 8192
/** Bytes of an ID that are compared as one number, which a double holds exactly. */
const KEY_BYTES = 6

/** The IDs of all runs in ascending order, each once. `width` is that of all their lists, 0 when it is not one or not known. */
export function mergeRuns(runs: readonly IdLists[], width: number): IdLists {
  return width > 0 ? mergePacked(runs, width) : mergeTexts(runs)
}

/** Thrown when runs that are merged as one width have IDs of another. */
export class OtherWidthError extends TypeError {}

/** The width of the first list of the first run that has one, 0 when there is none, and the runs, none of them begun as it seems. */
export async function widthOfRuns(runs: readonly IdLists[]): Promise<{ readonly width: number; readonly runs: readonly IdLists[] }> {
  for (const [index, run] of runs.entries()) {
    const { done, value } = await run.next()
    if (done !== true) return { width: value.width, runs: runs.with(index, startingWith(value, run)) }
  }
  return { width: 0, runs }
}

async function* startingWith(first: IdList, rest: IdLists): IdLists {
  try {
    yield first
    yield* rest
  } finally {
    await rest.return()
  }
}

/** One run, at its smallest ID that was not taken. */
class PackedCursor {
  bytes: Buffer = Buffer.alloc(0)
  at = 0
  /** The first bytes of the ID, as a number. */
  key = 0
  readonly #run: IdLists
  readonly #width: number

  constructor(run: IdLists, width: number) {
    this.#run = run
    this.#width = width
  }

  /** Steps within the list at hand; false when it is used up. */
  step(): boolean {
    this.at += this.#width
    if (this.at >= this.bytes.byteLength) return false
    this.key = keyAt(this.bytes, this.at, this.#width)
    return true
  }

  /** Gets the next list, and steps to its first ID; false at the end. */
  async load(): Promise<boolean> {
    const { done, value } = await this.#run.next()
    if (done === true) return false
    if (value.width !== this.#width) throw new OtherWidthError('A run has IDs of another width')
    this.bytes = value.bytes
    this.at = -this.#width
    return this.step()
  }

  async close(): Promise<void> {
    await this.#run.return()
  }
}

async function* mergePacked(runs: readonly IdLists[], width: number): IdLists {
  const cursors = runs.map((run) => new PackedCursor(run, width))
  const isBefore = (left: PackedCursor, right: PackedCursor): boolean =>
    left.key !== right.key ? left.key < right.key : compareIds(left.bytes, left.at, right.bytes, right.at, width) < 0
  try {
    const heap = new Heap(await loaded(cursors), isBefore)
    let batch = Buffer.allocUnsafeSlow(BATCH_IDS * width)
    let used = 0
    let last: Buffer = Buffer.alloc(width)
    let lastAt = -1
    for (let first = heap.first; first !== undefined; first = heap.first) {
      if (lastAt === -1 || compareIds(last, lastAt, first.bytes, first.at, width) !== 0) {
        copyId(first.bytes, first.at, batch, used, width)
        last = batch
        lastAt = used
        used += width
      }
      if (first.step() || (await first.load())) heap.firstChanged()
      else heap.removeFirst()
      if (used < batch.byteLength) continue
      yield { width, count: used / width, bytes: batch }
      batch = Buffer.allocUnsafeSlow(BATCH_IDS * width)
      used = 0
    }
    if (used > 0) yield { width, count: used / width, bytes: batch.subarray(0, used) }
  } finally {
    await Promise.all(cursors.map((cursor) => cursor.close()))
  }
}

class TextCursor {
  head = ''
  readonly #run: IdLists
  #ids: readonly string[] = []
  #next = 0

  constructor(run: IdLists) {
    this.#run = run
  }

  step(): boolean {
    const head = this.#ids[this.#next]
    if (head === undefined) return false
    this.head = head
    this.#next++
    return true
  }

  async load(): Promise<boolean> {
    const { done, value } = await this.#run.next()
    if (done === true) return false
    this.#ids = idsOf(value)
    this.#next = 0
    return this.step()
  }

  async close(): Promise<void> {
    await this.#run.return()
  }
}

async function* mergeTexts(runs: readonly IdLists[]): IdLists {
  const cursors = runs.map((run) => new TextCursor(run))
  try {
    const heap = new Heap(await loaded(cursors), (left, right) => left.head < right.head)
    let batch: string[] = []
    let last = ''
    for (let first = heap.first; first !== undefined; first = heap.first) {
      if (first.head !== last) batch.push(first.head)
      last = first.head
      if (first.step() || (await first.load())) heap.firstChanged()
      else heap.removeFirst()
      if (batch.length < BATCH_IDS) continue
      yield listOf(batch)
      batch = []
    }
    if (batch.length > 0) yield listOf(batch)
  } finally {
    await Promise.all(cursors.map((cursor) => cursor.close()))
  }
}

/** The cursors that have an ID. */
async function loaded<C extends { load(): Promise<boolean> }>(cursors: readonly C[]): Promise<C[]> {
  const found: C[] = []
  for (const cursor of cursors) if (await cursor.load()) found.push(cursor)
  return found
}

/** A binary heap: its first item is before all others. */
class Heap<T> {
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

function keyAt(bytes: Buffer, at: number, width: number): number {
  let key = 0
  for (let index = 0; index < KEY_BYTES; index++) key = key * 256 + (index < width ? (bytes[at + index] ?? 0) : 0)
  return key
}

function compareIds(left: Buffer, leftAt: number, right: Buffer, rightAt: number, width: number): number {
  for (let index = 0; index < width; index++) {
    const difference = (left[leftAt + index] ?? 0) - (right[rightAt + index] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}
