/** Sorts pairs of numbers that may be more than memory holds: in memory while few, else in an unnamed file. */
import { closeSync, readSync, writeSync } from 'node:fs'
import { InternalError } from '../errors/errors.ts'
import { openUnnamed, spillFailure } from './unnamed-file.ts'

/** Pairs that are sorted at once, 1 MiB. */
const CHUNK_PAIRS = 65_536
const FIRST_PAIRS = 1024
/** Chunks that stay in memory. */
const MEMORY_CHUNKS = 16
const PAIR_BYTES = 16
/** Bytes for reading all runs of a file at once, and the fewest pairs of one read. */
const READ_BYTES: number = 4 * 1024 * 1024
const MIN_READ_PAIRS = 64

/** Closes the file of pairs that were never closed. */
const abandoned = new FinalizationRegistry<number>((fd) => closeSync(fd))

/** Positions of pairs in ascending order: from the first up to but without the end. */
interface Run {
  from: number
  end: number
}

/**
 * Takes pairs in any order, and reads them in ascending order of the key; pairs of one key come in any order. Pairs that come nearly in
 * order are sorted faster. Synchronous, for a scan calls it between two records.
 */
export class SortedPairs {
  /** Pairs so far. */
  size = 0
  readonly #directory: string | undefined
  #pairs: Float64Array = new Float64Array(2 * FIRST_PAIRS)
  /** Numbers in `#pairs`. */
  #length = 0
  #spare: Float64Array | undefined
  readonly #chunks: Float64Array[] = []
  readonly #runs: Run[] = []
  #lastKey = 0
  /** Pairs in chunks and file. */
  #stored = 0
  #fd: number | undefined

  constructor(directory?: string) {
    this.#directory = directory
  }

  add(key: number, value: number): void {
    if (this.#length === this.#pairs.length) this.#makeRoom()
    this.#pairs[this.#length] = key
    this.#pairs[this.#length + 1] = value
    this.#length += 2
    this.size++
  }

  /** Ends the adding, and begins to read. May be called several times. */
  sorted(): PairCursor {
    if (this.#length > 0) this.#store()
    const readPairs = Math.max(MIN_READ_PAIRS, Math.floor(READ_BYTES / PAIR_BYTES / Math.max(1, this.#runs.length)))
    return new PairCursor(this.#runs.map((run) => new RunReader(run, (from, pairs) => this.#read(from, Math.min(pairs, readPairs)))))
  }

  /** Frees memory and file. Idempotent. */
  close(): void {
    this.#chunks.length = 0
    if (this.#fd === undefined) return
    abandoned.unregister(this)
    closeSync(this.#fd)
    this.#fd = undefined
  }

  #makeRoom(): void {
    if (this.#length === 2 * CHUNK_PAIRS) return this.#store()
    const larger = new Float64Array(2 * this.#length)
    larger.set(this.#pairs)
    this.#pairs = larger
  }

  /** Sorts the gathered pairs and stores them as a run; as the end of the last run, where they follow it. */
  #store(): void {
    const count = this.#length / 2
    if ((this.#spare?.length ?? 0) < this.#length) this.#spare = new Float64Array(this.#pairs.length)
    const sorted = sortPairs(this.#pairs.subarray(0, this.#length), (this.#spare ?? this.#pairs).subarray(0, this.#length))
    const last = this.#runs.at(-1)
    if (last !== undefined && this.#lastKey <= (sorted[0] ?? 0)) last.end += count
    else this.#runs.push({ from: this.#stored, end: this.#stored + count })
    this.#lastKey = sorted.at(-2) ?? 0
    if (this.#chunks.length < MEMORY_CHUNKS) this.#chunks.push(sorted.slice())
    else this.#write(sorted)
    this.#stored += count
    this.#length = 0
  }

  #write(pairs: Float64Array): void {
    try {
      if (this.#fd === undefined) abandoned.register(this, (this.#fd = openUnnamed(this.#directory)), this)
      const fd = this.#fd
      const bytes = new Uint8Array(pairs.buffer, pairs.byteOffset, pairs.byteLength)
      for (let written = 0; written < bytes.byteLength; ) written += writeSync(fd, bytes, written)
    } catch (cause) {
      throw spillFailure('the numbers of inodes', cause, this.#directory)
    }
  }

  /** At most so many pairs from a position on. All chunks but the last are full. */
  #read(from: number, pairs: number): Float64Array {
    const inChunk = from % CHUNK_PAIRS
    const chunk = this.#chunks[Math.floor(from / CHUNK_PAIRS)]
    if (chunk !== undefined) return chunk.subarray(2 * inChunk, 2 * Math.min(inChunk + pairs, CHUNK_PAIRS))
    const read = new Float64Array(2 * pairs)
    const bytes = new Uint8Array(read.buffer)
    const start = (from - MEMORY_CHUNKS * CHUNK_PAIRS) * PAIR_BYTES
    for (let done = 0; done < bytes.byteLength; ) {
      const count = this.#readFile(bytes.subarray(done), start + done)
      if (count === 0) throw new InternalError('A file of inode numbers is shorter than what was written to it')
      done += count
    }
    return read
  }

  #readFile(bytes: Uint8Array, position: number): number {
    try {
      return readSync(this.#fd ?? -1, bytes, 0, bytes.byteLength, position)
    } catch (cause) {
      throw spillFailure('the numbers of inodes', cause, this.#directory)
    }
  }
}

/** Reads pairs in ascending order of the key. */
export class PairCursor {
  /** The current pair; after the last one the key is infinite. */
  key: number = Number.POSITIVE_INFINITY
  value = 0
  /** The runs that have pairs left, the one with the least key first, each not greater than those at twice its place. */
  readonly #heap: RunReader[]

  constructor(runs: readonly RunReader[]) {
    this.#heap = runs.filter((run) => run.next())
    for (let at = this.#heap.length >> 1; at >= 0; at--) this.#settle(at)
    this.next()
  }

  /** Steps to the next pair. */
  next(): void {
    const least = this.#heap[0]
    this.key = least?.key ?? Number.POSITIVE_INFINITY
    this.value = least?.value ?? 0
    if (least === undefined) return
    if (!least.next()) {
      const last = this.#heap.pop()
      if (last === undefined || last === least) return
      this.#heap[0] = last
    }
    if (this.#heap.length > 1) this.#settle(0)
  }

  #settle(from: number): void {
    const heap = this.#heap
    for (let at = from; ; ) {
      const [left, right] = [heap[2 * at + 1], heap[2 * at + 2]]
      const least = right !== undefined && left !== undefined && right.key < left.key ? right : left
      const here = heap[at]
      if (least === undefined || here === undefined || here.key <= least.key) return
      heap[at] = least
      at = 2 * at + (least === left ? 1 : 2)
      heap[at] = here
    }
  }
}

class RunReader {
  key = 0
  value = 0
  #from: number
  readonly #end: number
  readonly #read: (from: number, pairs: number) => Float64Array
  #pairs: Float64Array = new Float64Array(0)
  #at = 0

  constructor({ from, end }: Run, read: (from: number, pairs: number) => Float64Array) {
    this.#from = from
    this.#end = end
    this.#read = read
  }

  /** Steps to the next pair of the run. Returns whether there is one. */
  next(): boolean {
    if (this.#at === this.#pairs.length) {
      if (this.#from === this.#end) return false
      this.#pairs = this.#read(this.#from, this.#end - this.#from)
      this.#from += this.#pairs.length / 2
      this.#at = 0
    }
    this.key = this.#pairs[this.#at] ?? 0
    this.value = this.#pairs[this.#at + 1] ?? 0
    this.#at += 2
    return true
  }
}

/** Merges neighbouring runs until one is left. Returns the array that has it; `spare` is as long as `pairs`. */
function sortPairs(pairs: Float64Array, spare: Float64Array): Float64Array {
  for (let [source, target] = [pairs, spare]; ; [source, target] = [target, source]) {
    for (let from = 0, end = 0; from < source.length; from = end) {
      const middle = endOfRun(source, from)
      if (from === 0 && middle === source.length) return source
      end = middle === source.length ? middle : endOfRun(source, middle)
      let [left, right] = [from, middle]
      for (let to = from; to < end; to += 2) {
        const next = right === end || (left < middle && source[left]! <= source[right]!) ? left : right
        target[to] = source[next]!
        target[to + 1] = source[next + 1]!
        if (next === left) left += 2
        else right += 2
      }
    }
  }
}

function endOfRun(pairs: Float64Array, from: number): number {
  let end = from + 2
  while (end < pairs.length && pairs[end]! >= pairs[end - 2]!) end += 2
  return end
}
