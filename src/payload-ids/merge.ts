/** Merges ascending lists of payload IDs into one. */
import { type IdList, copyId } from './id-list.ts'
import { KEY_BYTES, keyAt } from './id-key.ts'
import { KeyTree } from './key-tree.ts'
import { type IdLists, type MergedList, nextOf } from './merged-list.ts'
import { mergeTexts } from './merge-texts.ts'

/** Some milliseconds of work. */
const BATCH_IDS = 8192
const WORD_BYTES = 4
const NO_BYTES: Buffer = Buffer.alloc(0)

/** The IDs of all runs in ascending order, each once. IDs of one width are merged several times as fast as others. */
export async function* mergeRuns(runs: readonly IdLists[]): AsyncGenerator<MergedList, void, undefined> {
  try {
    const lists: (IdList | undefined)[] = []
    for (const run of runs) lists.push(await nextOf(run))
    const width = lists.find((list) => list !== undefined)?.width ?? 0
    const isPacked = width > 0 && lists.every((list) => list === undefined || list.width === width)
    // What is left when a run comes to IDs of another width.
    const rest = isPacked ? yield* new PackedMerge(runs, lists, width).merge() : lists
    if (rest !== undefined) yield* mergeTexts(runs, rest)
  } finally {
    await Promise.all(runs.map((run) => run.return()))
  }
}

/**
 * The smallest IDs are found by a few of their bytes, as numbers; only those of equal numbers are compared. These bytes come after a prefix that the IDs at
 * hand have in common, once that is found to be needed.
 */
class PackedMerge {
  readonly #runs: readonly IdLists[]
  readonly #width: number
  readonly #keys: KeyTree
  /** The list at hand of each run, and where its smallest ID is that was not taken. */
  readonly #bytes: Buffer[]
  readonly #at: Int32Array
  /** The bytes of each run as words, where the width is one of whole words; most IDs are compared to find them the same. */
  readonly #words: Uint32Array[] = []
  readonly #isOfWords: boolean
  readonly #batch: Buffer
  readonly #batchWords: Uint32Array
  readonly #batchRuns = new Uint32Array(BATCH_IDS)
  #count = 0
  #skip = 0
  #isSkipKnown = false
  /** The runs that have the smallest key, and of these the ones that have the smallest ID. */
  readonly #tied: Int32Array
  readonly #least: Int32Array

  constructor(runs: readonly IdLists[], lists: readonly (IdList | undefined)[], width: number) {
    this.#runs = runs
    this.#width = width
    this.#keys = new KeyTree(runs.length)
    this.#batch = Buffer.allocUnsafeSlow(BATCH_IDS * width)
    this.#batchWords = new Uint32Array(this.#batch.buffer)
    this.#isOfWords = width % WORD_BYTES === 0
    this.#bytes = lists.map(() => NO_BYTES)
    for (const [run, list] of lists.entries()) this.#setBytes(run, list?.bytes ?? NO_BYTES)
    this.#at = new Int32Array(runs.length)
    this.#tied = new Int32Array(runs.length)
    this.#least = new Int32Array(runs.length)
  }

  /** Returns the rest of each run when one of them comes to IDs of another width. */
  async *merge(): AsyncGenerator<MergedList, readonly IdList[] | undefined, undefined> {
    this.#setKeys(0)
    while (!this.#keys.update()) {
      const least = this.#fill()
      for (let index = 0; index < least; index++) {
        const run = this.#least[index] as number
        if ((this.#at[run] as number) < (this.#bytes[run] as Buffer).byteLength) continue
        const other = await this.#load(run)
        if (other === undefined) continue
        yield this.#takeBatch()
        return this.#rest(run, other)
      }
      if (this.#count === BATCH_IDS) yield this.#takeBatch()
    }
    if (this.#count > 0) yield this.#takeBatch()
    return undefined
  }

  /** Merges until the batch is full, or a list is used up: of one of so many runs that `#least` then begins with. */
  #fill(): number {
    for (;;) {
      const least = this.#findLeast()
      const first = this.#least[0] as number
      const isUsedUp = least === 1 ? this.#takeAlone(first) : this.#takeFrom(least)
      if (isUsedUp || this.#count === BATCH_IDS) return least
      this.#keys.update()
    }
  }

  /** Takes IDs of one run up to where others have some; returns whether its list is used up. */
  #takeAlone(run: number): boolean {
    const width = this.#width
    const list = this.#bytes[run] as Buffer
    const limit = this.#keys.leastBut(run)
    const [skip, rest, bit, runs] = [this.#skip, width - this.#skip, 1 << run, this.#batchRuns]
    const from = this.#at[run] as number
    let at = from
    let count = this.#count
    let key = 0
    do {
      runs[count++] = bit
      at += width
      if (at === list.length) break
      key = keyAt(list, at + skip, rest)
    } while (key < limit && count < BATCH_IDS)
    this.#copy(run, from, at)
    this.#at[run] = at
    const isUsedUp = at === list.length
    this.#keys.set(run, isUsedUp ? Number.POSITIVE_INFINITY : key)
    return isUsedUp
  }

  /** Takes the ID that so many runs have; returns whether the list of one of them is used up. */
  #takeFrom(least: number): boolean {
    const [width, skip, leastRuns] = [this.#width, this.#skip, this.#least]
    const first = leastRuns[0] as number
    const from = this.#at[first] as number
    let bits = 0
    let isUsedUp = false
    for (let index = 0; index < least; index++) {
      const run = leastRuns[index] as number
      bits |= 1 << run
      const list = this.#bytes[run] as Buffer
      const at = (this.#at[run] as number) + width
      this.#at[run] = at
      if (at < list.length) this.#keys.set(run, keyAt(list, at + skip, width - skip))
      else {
        this.#keys.set(run, Number.POSITIVE_INFINITY)
        isUsedUp = true
      }
    }
    this.#batchRuns[this.#count] = bits
    this.#copy(first, from, from + width)
    return isUsedUp
  }

  /** Copies IDs of a run to the end of the batch. */
  #copy(run: number, from: number, end: number): void {
    const to = this.#count * this.#width
    this.#count += (end - from) / this.#width
    if (!this.#isOfWords) {
      copyId(this.#bytes[run] as Buffer, from, this.#batch, to, end - from)
      return
    }
    const [source, target, toWord] = [this.#words[run] as Uint32Array, this.#batchWords, to / WORD_BYTES]
    const [fromWord, words] = [from / WORD_BYTES, (end - from) / WORD_BYTES]
    for (let word = 0; word < words; word++) target[toWord + word] = source[fromWord + word] as number
  }

  #takeBatch(): MergedList {
    const count = this.#count
    const taken = { width: this.#width, count, bytes: this.#batch.subarray(0, count * this.#width), runs: this.#batchRuns.subarray(0, count) }
    this.#count = 0
    return taken
  }

  /** Puts the runs with the smallest ID into `#least`, and returns how many there are. */
  #findLeast(): number {
    const least = this.#least
    const tiedRuns = this.#tied
    const tied = this.#keys.findLeast(tiedRuns)
    least[0] = tiedRuns[0] as number
    let count = 1
    for (let index = 1; index < tied; index++) {
      const run = tiedRuns[index] as number
      const order = this.#compare(run, least[0])
      if (order !== 0 && !this.#isSkipKnown) {
        this.#findSkip()
        this.#keys.update()
        return this.#findLeast()
      }
      if (order < 0) count = 0
      if (order <= 0) least[count++] = run
    }
    return count
  }

  /** Of IDs whose keys are the same. */
  #compare(left: number, right: number): number {
    const leftAt = this.#at[left] as number
    const rightAt = this.#at[right] as number
    if (this.#isOfWords && isSame(this.#words[left] as Uint32Array, leftAt / WORD_BYTES, this.#words[right] as Uint32Array, rightAt / WORD_BYTES, this.#width / WORD_BYTES)) return 0
    const leftBytes = this.#bytes[left] as Buffer
    const rightBytes = this.#bytes[right] as Buffer
    for (let index = this.#skip + KEY_BYTES; index < this.#width; index++) {
      const difference = (leftBytes[leftAt + index] as number) - (rightBytes[rightAt + index] as number)
      if (difference !== 0) return difference
    }
    return 0
  }

  /** Gets the next list of a run; returns it when it is of another width. */
  async #load(run: number): Promise<IdList | undefined> {
    const list = await nextOf(this.#runs[run] as IdLists)
    this.#setBytes(run, NO_BYTES)
    this.#at[run] = 0
    if (list !== undefined && list.width !== this.#width) return list
    this.#setBytes(run, list?.bytes ?? NO_BYTES)
    this.#isSkipKnown = false
    if (this.#skip > 0) this.#findSkip()
    else if (list !== undefined) this.#keys.set(run, keyAt(list.bytes, 0, this.#width))
    return undefined
  }

  #setBytes(run: number, bytes: Buffer): void {
    const aligned = !this.#isOfWords || bytes.byteOffset % WORD_BYTES === 0 ? bytes : Buffer.from(new Uint8Array(bytes).buffer)
    this.#bytes[run] = aligned
    if (this.#isOfWords) this.#words[run] = new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / WORD_BYTES)
  }

  /** Looks how many bytes all IDs at hand have in common. */
  #findSkip(): void {
    let skip = this.#width
    let first: Buffer | undefined
    for (const [run, bytes] of this.#bytes.entries()) {
      const at = this.#at[run] as number
      if (at >= bytes.byteLength) continue
      first ??= bytes.subarray(at, at + this.#width)
      for (const end of [at, bytes.byteLength - this.#width]) {
        let same = 0
        while (same < skip && first[same] === bytes[end + same]) same++
        skip = same
      }
    }
    this.#isSkipKnown = true
    this.#setKeys(skip)
  }

  #setKeys(skip: number): void {
    this.#skip = skip
    for (const [run, bytes] of this.#bytes.entries()) {
      const at = this.#at[run] as number
      if (at < bytes.byteLength) this.#keys.set(run, keyAt(bytes, at + skip, this.#width - skip))
      else this.#keys.set(run, Number.POSITIVE_INFINITY)
    }
  }

  /** What is left of the list at hand of each run; all of it where one was just loaded. */
  #rest(changed: number, other: IdList): IdList[] {
    return this.#bytes.map((bytes, run) => {
      const left = bytes.subarray(this.#at[run])
      return run === changed ? other : { width: this.#width, count: left.byteLength / this.#width, bytes: left }
    })
  }
}

function isSame(left: Uint32Array, leftAt: number, right: Uint32Array, rightAt: number, words: number): boolean {
  for (let word = 0; word < words; word++) if (left[leftAt + word] !== right[rightAt + word]) return false
  return true
}
