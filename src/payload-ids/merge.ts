/** Merges ascending lists of payload IDs into one. */

const BATCH_IDS = 4096

type Batches = AsyncGenerator<readonly string[], void, undefined>

/** One list, at its smallest ID that was not taken. */
class Cursor {
  head = ''
  readonly #batches: Batches
  #batch: readonly string[] = []
  #next = 0

  constructor(batches: Batches) {
    this.#batches = batches
  }

  /** Steps within the batch at hand; false when it is used up. */
  step(): boolean {
    const head = this.#batch[this.#next]
    if (head === undefined) return false
    this.head = head
    this.#next++
    return true
  }

  /** Gets the next batch and steps into it; false at the end. */
  async load(): Promise<boolean> {
    const { done, value } = await this.#batches.next()
    if (done === true) return false
    this.#batch = value
    this.#next = 0
    return this.step()
  }

  async close(): Promise<void> {
    await this.#batches.return()
  }
}

/** The IDs of all lists in ascending order; an ID of several lists comes as often as it is there. */
export async function* mergeRuns(runs: readonly Batches[]): Batches {
  const cursors = runs.map((run) => new Cursor(run))
  const heap: Cursor[] = []
  try {
    for (const cursor of cursors) {
      if (await cursor.load()) {
        heap.push(cursor)
        siftUp(heap)
      }
    }
    let batch: string[] = []
    for (let first = heap[0]; first !== undefined; first = heap[0]) {
      batch.push(first.head)
      if (!first.step() && !(await first.load())) {
        const last = heap.pop()
        if (last !== undefined && last !== first) heap[0] = last
      }
      siftDown(heap)
      if (batch.length < BATCH_IDS) continue
      yield batch
      batch = []
    }
    if (batch.length > 0) yield batch
  } finally {
    await Promise.all(cursors.map((cursor) => cursor.close()))
  }
}

function siftUp(heap: Cursor[]): void {
  let at = heap.length - 1
  while (at > 0) {
    const parent = (at - 1) >> 1
    if (!swapIfLess(heap, at, parent)) return
    at = parent
  }
}

function siftDown(heap: Cursor[]): void {
  let at = 0
  for (;;) {
    const left = 2 * at + 1
    const right = left + 1
    const child = (heap[right]?.head ?? '\uffff') < (heap[left]?.head ?? '\uffff') ? right : left
    if (!swapIfLess(heap, child, at)) return
    at = child
  }
}

/** Puts the child above its parent when its head is the smaller one. */
function swapIfLess(heap: Cursor[], child: number, parent: number): boolean {
  const below = heap[child]
  const above = heap[parent]
  if (below === undefined || above === undefined || below.head >= above.head) return false
  heap[child] = above
  heap[parent] = below
  return true
}
