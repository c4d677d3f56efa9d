/** Merges ascending lists of payload IDs into one. */

/** Some milliseconds of work. */
const BATCH_IDS = 8192

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

/** The IDs of all lists in ascending order, each once, as lines. */
export async function* mergeRuns(runs: readonly Batches[]): AsyncGenerator<Buffer, void, undefined> {
  const cursors = runs.map((run) => new Cursor(run))
  const heap: Cursor[] = []
  try {
    for (const cursor of cursors) {
      if (await cursor.load()) {
        heap.push(cursor)
        siftUp(heap)
      }
    }
    let lines: string[] = []
    let last = ''
    for (let first = heap[0]; first !== undefined; first = heap[0]) {
      if (first.head !== last) lines.push(first.head)
      last = first.head
      if (!first.step() && !(await first.load())) removeFirst(heap)
      siftDown(heap)
      if (lines.length < BATCH_IDS) continue
      yield joined(lines)
      lines = []
    }
    if (lines.length > 0) yield joined(lines)
  } finally {
    await Promise.all(cursors.map((cursor) => cursor.close()))
  }
}

function joined(payloadIds: readonly string[]): Buffer {
  return Buffer.from(`${payloadIds.join('\n')}\n`, 'latin1')
}

function removeFirst(heap: Cursor[]): void {
  const last = heap.pop()
  if (last !== undefined && heap.length > 0) heap[0] = last
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
