/** Merges ascending lists of payload IDs into one. */
import type { IdList } from './id-list.ts'
import { KeyTree } from './key-tree.ts'
import { type IdLists, type MergedList, nextOf } from './merged-list.ts'
import { mergeTexts } from './merge-texts.ts'
import { copyId } from './sort-packed.ts'

/** Some milliseconds of work. */
const BATCH_IDS = 8192
/** Bytes of an ID that are compared as one number, which a double holds exactly. */
const KEY_BYTES = 6

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
  #skip = 0
  #isSkipKnown = false
  /** The runs that have the smallest key, and of these the ones that have the smallest ID. */
  readonly #tied: Int32Array
  readonly #least: Int32Array

  constructor(runs: readonly IdLists[], lists: readonly (IdList | undefined)[], width: number) {
    this.#runs = runs
    this.#width = width
    this.#keys = new KeyTree(runs.length)
    this.#bytes = lists.map((list) => list?.bytes ?? Buffer.alloc(0))
    this.#at = new Int32Array(runs.length)
    this.#tied = new Int32Array(runs.length)
    this.#least = new Int32Array(runs.length)
  }

  /** Returns the rest of each run when one of them comes to IDs of another width. */
  async *merge(): AsyncGenerator<MergedList, readonly IdList[] | undefined, undefined> {
    const width = this.#width
    this.#setKeys(0)
    let bytes = Buffer.allocUnsafeSlow(BATCH_IDS * width)
    let runs = new Uint32Array(BATCH_IDS)
    let count = 0
    while (!this.#keys.update()) {
      const least = this.#findLeast()
      const first = this.#least[0] as number
      copyId(this.#bytes[first] as Buffer, this.#at[first] as number, bytes, count * width, width)
      let bits = 0
      for (let index = 0; index < least; index++) {
        const run = this.#least[index] as number
        bits |= 1 << run
        const at = (this.#at[run] as number) + width
        const list = this.#bytes[run] as Buffer
        this.#at[run] = at
        if (at < list.byteLength) this.#keys.set(run, keyAt(list, at + this.#skip, width - this.#skip))
        else this.#keys.end(run)
      }
      runs[count++] = bits
      for (let index = 0; index < least; index++) {
        const run = this.#least[index] as number
        if ((this.#at[run] as number) < (this.#bytes[run] as Buffer).byteLength) continue
        const other = await this.#load(run)
        if (other === undefined) continue
        yield { width, count, bytes: bytes.subarray(0, count * width), runs: runs.subarray(0, count) }
        return this.#rest(run, other)
      }
      if (count < BATCH_IDS) continue
      yield { width, count, bytes, runs }
      bytes = Buffer.allocUnsafeSlow(BATCH_IDS * width)
      runs = new Uint32Array(BATCH_IDS)
      count = 0
    }
    if (count > 0) yield { width, count, bytes: bytes.subarray(0, count * width), runs: runs.subarray(0, count) }
    return undefined
  }

  /** Puts the runs with the smallest ID into `#least`, and returns how many there are. */
  #findLeast(): number {
    const tied = this.#keys.findLeast(this.#tied)
    this.#least[0] = this.#tied[0] as number
    let least = 1
    for (let index = 1; index < tied; index++) {
      const run = this.#tied[index] as number
      const order = this.#compare(run, this.#least[0])
      if (order !== 0 && !this.#isSkipKnown) {
        this.#findSkip()
        this.#keys.update()
        return this.#findLeast()
      }
      if (order < 0) least = 0
      if (order <= 0) this.#least[least++] = run
    }
    return least
  }

  #compare(left: number, right: number): number {
    const [leftBytes, rightBytes] = [this.#bytes[left] as Buffer, this.#bytes[right] as Buffer]
    const [leftAt, rightAt] = [this.#at[left] as number, this.#at[right] as number]
    for (let index = this.#skip + KEY_BYTES; index < this.#width; index++) {
      const difference = (leftBytes[leftAt + index] as number) - (rightBytes[rightAt + index] as number)
      if (difference !== 0) return difference
    }
    return 0
  }

  /** Gets the next list of a run; returns it when it is of another width. */
  async #load(run: number): Promise<IdList | undefined> {
    const list = await nextOf(this.#runs[run] as IdLists)
    this.#bytes[run] = Buffer.alloc(0)
    this.#at[run] = 0
    if (list !== undefined && list.width !== this.#width) return list
    this.#bytes[run] = list?.bytes ?? Buffer.alloc(0)
    this.#isSkipKnown = false
    if (this.#skip > 0) this.#findSkip()
    else if (list !== undefined) this.#keys.set(run, keyAt(list.bytes, 0, this.#width))
    return undefined
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
      else this.#keys.end(run)
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

/** The first bytes of an ID that has so many from there, as a number. */
function keyAt(bytes: Buffer, at: number, length: number): number {
  if (length >= KEY_BYTES) {
    const high = ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number)
    const low = ((bytes[at + 3] as number) << 16) | ((bytes[at + 4] as number) << 8) | (bytes[at + 5] as number)
    return high * 0x1000000 + low
  }
  let key = 0
  for (let index = 0; index < KEY_BYTES; index++) key = key * 256 + (index < length ? (bytes[at + index] as number) : 0)
  return key
}
