/** Merges ascending lists of payload IDs into one. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type IdList, copyId, LINE_FEED, linesOf, MAX_ID_LENGTH } from './id-list.ts'
import { KEY_BYTES, keyAt } from './id-key.ts'
import { KeyTree } from './key-tree.ts'

export type IdLists = AsyncGenerator<IdList, void, undefined>

/** A part of the result. Its bytes change when the next list is read. */
export interface MergedList extends IdList {
  /** For each ID, which runs have it: bit 0 for the first run, and so on. Meaningless for more than 32 runs. */
  readonly runs: Uint32Array
}

/** IDs of a part: some milliseconds of work. */
const BATCH_IDS = 8192
/** IDs that are read between two turns of the event loop. Those that repeat fill no batch, and runs in memory are read without waiting. */
const TURN_IDS = 16_384
const WORD_BYTES = 4
const NO_BYTES: Buffer = Buffer.alloc(0)

/** Merges ascending runs: the IDs of all in ascending order, each once. */
export async function* mergeRuns(runs: readonly IdLists[]): AsyncGenerator<MergedList, void, undefined> {
  try {
    yield* new Merge(runs).lists()
  } finally {
    await Promise.all(runs.map((run) => run.return()))
  }
}

/** The current list of a run, from the smallest ID that was not taken. */
class Head {
  readonly bytes: Buffer
  readonly width: number
  /** The bytes as words if IDs are whole words: most IDs that are compared are the same, which words tell in a third of the time. */
  readonly words: Uint32Array | undefined
  at = 0
  end = 0

  /** Width 0 means lines. A line feed belongs to its line and is less than any character, so that lines compare as bytes. */
  constructor(bytes: Buffer, width: number) {
    const isOfWords = width > 0 && width % WORD_BYTES === 0
    this.bytes = isOfWords && bytes.byteOffset % WORD_BYTES > 0 ? Buffer.from(new Uint8Array(bytes).buffer) : bytes
    this.width = width
    this.words = isOfWords ? new Uint32Array(this.bytes.buffer, this.bytes.byteOffset, bytes.byteLength / WORD_BYTES) : undefined
    this.#findEnd()
  }

  get isUsedUp(): boolean {
    return this.at === this.bytes.length
  }

  /** Where the last ID of the list begins. */
  get lastAt(): number {
    return this.width > 0 ? this.bytes.length - this.width : this.bytes.lastIndexOf(LINE_FEED, this.bytes.length - 2) + 1
  }

  /** The number to compare the smallest ID by, from the bytes after the first `skip`; infinite at the end of the list. */
  keyAfter(skip: number): number {
    return this.at === this.bytes.length ? Number.POSITIVE_INFINITY : keyAt(this.bytes, this.at + skip, this.end - this.at - skip)
  }

  step(): void {
    this.at = this.end
    this.#findEnd()
  }

  #findEnd(): void {
    if (!this.isUsedUp) this.end = this.width > 0 ? this.at + this.width : this.bytes.indexOf(LINE_FEED, this.at) + 1
  }
}

/**
 * Finds the smallest IDs by a few bytes as numbers, and compares whole IDs only if the numbers are equal.
 * After the first such case, the bytes are taken behind the common prefix of all current IDs.
 * All lists are packed at one width; when one is not, all become lines.
 */
class Merge {
  readonly #runs: readonly IdLists[]
  readonly #heads: Head[]
  readonly #keys: KeyTree
  #width = 0
  #batch: Buffer = NO_BYTES
  #batchWords: Uint32Array = new Uint32Array(0)
  #batchBytes = 0
  #count = 0
  readonly #batchRuns = new Uint32Array(BATCH_IDS)
  #skip = 0
  #isSkipKnown = false
  /** The runs with the smallest key, and those of them with the smallest ID. */
  readonly #tied: Int32Array
  readonly #least: Int32Array

  constructor(runs: readonly IdLists[]) {
    this.#runs = runs
    this.#heads = runs.map(() => new Head(NO_BYTES, 0))
    this.#keys = new KeyTree(runs.length)
    this.#tied = new Int32Array(runs.length)
    this.#least = new Int32Array(runs.length)
  }

  async *lists(): AsyncGenerator<MergedList, void, undefined> {
    const lists: (IdList | undefined)[] = []
    for (const run of this.#runs) lists.push(await nextOf(run))
    const widths = new Set(lists.flatMap((list) => list?.width ?? []))
    this.#setWidth(widths.size === 1 ? ([...widths][0] ?? 0) : 0)
    for (const [run, list] of lists.entries()) this.#begin(run, list)
    let turnIds = 0
    for (let least = this.#fill(); least > 0; least = this.#fill()) {
      for (const run of this.#least.subarray(0, least)) {
        if (!(this.#heads[run] as Head).isUsedUp) continue
        const list = await nextOf(this.#runs[run] as IdLists)
        if (list !== undefined && this.#width > 0 && list.width !== this.#width) {
          if (this.#count > 0) yield this.#takeBatch()
          this.#useLines()
        }
        this.#begin(run, list)
        turnIds += list?.count ?? 0
      }
      if (this.#count === BATCH_IDS) yield this.#takeBatch()
      if (turnIds < TURN_IDS) continue
      turnIds = 0
      await nextTurn()
    }
    if (this.#count > 0) yield this.#takeBatch()
  }

  /** Merges until the batch is full or a list is used up. Returns how many runs in `#least` had the last ID; 0 when all runs have ended. */
  #fill(): number {
    for (;;) {
      const least = this.#findLeast()
      if (least === 0) return 0
      this.#copy(this.#heads[this.#least[0] as number] as Head)
      const heads = this.#heads
      const keys = this.#keys
      const skip = this.#skip
      const leastRuns = this.#least
      let bits = 0
      let isUsedUp = false
      for (let index = 0; index < least; index++) {
        const run = leastRuns[index] as number
        const head = heads[run] as Head
        bits |= 1 << run
        head.step()
        const key = head.keyAfter(skip)
        if (key === Number.POSITIVE_INFINITY) isUsedUp = true
        keys.set(run, key)
      }
      this.#batchRuns[this.#count++] = bits
      if (isUsedUp || this.#count === BATCH_IDS) return least
    }
  }

  /** Copies the smallest ID of a list to the end of the batch: as words where it can, in a third of the time. */
  #copy({ bytes, words, at, end }: Head): void {
    const to = this.#batchBytes
    this.#batchBytes = to + end - at
    if (words === undefined) {
      copyId(bytes, at, this.#batch, to, end - at)
      return
    }
    const target = this.#batchWords
    for (let word = at / WORD_BYTES, toWord = to / WORD_BYTES; word < end / WORD_BYTES; word++, toWord++) target[toWord] = words[word] as number
  }

  #takeBatch(): MergedList {
    const count = this.#count
    const taken = { width: this.#width, count, bytes: this.#batch.subarray(0, this.#batchBytes), runs: this.#batchRuns.subarray(0, count) }
    this.#count = 0
    this.#batchBytes = 0
    return taken
  }

  /** Puts the runs with the smallest ID into `#least`. Returns how many there are. */
  #findLeast(): number {
    const [least, tiedRuns] = [this.#least, this.#tied]
    const tied = this.#keys.findLeast(tiedRuns)
    if (tied === 0) return 0
    least[0] = tiedRuns[0] as number
    let count = 1
    for (let index = 1; index < tied; index++) {
      const run = tiedRuns[index] as number
      const order = this.#compare(run, least[0])
      if (order !== 0 && !this.#isSkipKnown) {
        this.#findSkip()
        return this.#findLeast()
      }
      if (order < 0) count = 0
      if (order <= 0) least[count++] = run
    }
    return count
  }

  /** Compares IDs whose keys are the same. */
  #compare(left: number, right: number): number {
    const { bytes, at, end, words } = this.#heads[left] as Head
    const { bytes: others, at: othersAt, words: otherWords } = this.#heads[right] as Head
    if (words !== undefined && otherWords !== undefined && isSame(words, at / WORD_BYTES, otherWords, othersAt / WORD_BYTES, (end - at) / WORD_BYTES)) return 0
    for (let index = this.#skip + KEY_BYTES; index < end - at; index++) {
      const difference = (bytes[at + index] as number) - (others[othersAt + index] as number)
      if (difference !== 0) return difference
    }
    return 0
  }

  /** Continues with the next list of a run, if there is one. */
  #begin(run: number, list: IdList | undefined): void {
    this.#heads[run] = new Head(list === undefined ? NO_BYTES : this.#width > 0 ? list.bytes : linesOf(list), this.#width)
    this.#isSkipKnown = false
    if (this.#skip > 0) this.#findSkip()
    else this.#setKey(run)
  }

  #setWidth(width: number): void {
    this.#width = width
    this.#batch = Buffer.allocUnsafeSlow(BATCH_IDS * (width > 0 ? width : MAX_ID_LENGTH + 1))
    this.#batchWords = new Uint32Array(this.#batch.buffer, 0, Math.floor(this.#batch.byteLength / WORD_BYTES))
  }

  /** Turns all current lists into lines. */
  #useLines(): void {
    const rest = this.#heads.map(({ bytes, at }): IdList => ({ width: this.#width, count: (bytes.length - at) / this.#width, bytes: bytes.subarray(at) }))
    this.#setWidth(0)
    this.#skip = 0
    for (const [run, list] of rest.entries()) this.#begin(run, list)
  }

  /** Finds the number of first bytes that all current IDs share. */
  #findSkip(): void {
    let skip = Number.POSITIVE_INFINITY
    let first: Buffer | undefined
    for (const head of this.#heads) {
      if (head.isUsedUp) continue
      first ??= head.bytes.subarray(head.at, head.end)
      skip = Math.min(skip, first.length)
      for (const at of [head.at, head.lastAt]) {
        let same = 0
        while (same < skip && first[same] === head.bytes[at + same]) same++
        skip = same
      }
    }
    this.#skip = first === undefined ? 0 : skip
    this.#isSkipKnown = true
    for (let run = 0; run < this.#heads.length; run++) this.#setKey(run)
  }

  #setKey(run: number): void {
    this.#keys.set(run, (this.#heads[run] as Head).keyAfter(this.#skip))
  }
}

function isSame(left: Uint32Array, leftAt: number, right: Uint32Array, rightAt: number, words: number): boolean {
  for (let word = 0; word < words; word++) if (left[leftAt + word] !== right[rightAt + word]) return false
  return true
}

/** The next list that is not empty; `undefined` at the end. */
async function nextOf(run: IdLists): Promise<IdList | undefined> {
  for (;;) {
    const { done, value } = await run.next()
    if (done === true) return undefined
    if (value.count > 0) return value
  }
}
