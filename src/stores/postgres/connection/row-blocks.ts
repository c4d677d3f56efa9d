/** Memory for rows on their way from a socket to the stream, used again and again: fresh memory costs more than what is written into it. */

/** Of a block. */
const BLOCK_BYTES: number = 256 * 1024
/** Rows that may end in a block. */
const BLOCK_ROWS: number = 64 * 1024
/** What is added to a block at once has at most so many bytes; of rows that end in it there are no more than it has bytes. */
export const MAX_ADDED_BYTES: number = 32 * 1024
/** Of where a row ends. */
const END_BYTES = 4

/** Some bytes of rows, and where rows end in them. */
export class RowBlock {
  readonly #bytes: Buffer = Buffer.allocUnsafeSlow(BLOCK_BYTES)
  readonly #ends: Uint32Array = new Uint32Array(BLOCK_ROWS)
  #usedBytes = 0
  #rows = 0

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#usedBytes)
  }

  /** Ascending. */
  get ends(): Uint32Array {
    return this.#ends.subarray(0, this.#rows)
  }

  /** The memory that is in use, in bytes. */
  get size(): number {
    return this.#usedBytes + this.#rows * END_BYTES
  }

  /** Whether more may be added. */
  get hasRoom(): boolean {
    return this.#usedBytes + MAX_ADDED_BYTES <= BLOCK_BYTES && this.#rows + MAX_ADDED_BYTES <= BLOCK_ROWS
  }

  /** Adds bytes, and how many of `ends`, which count from the first of these bytes. */
  add(bytes: Uint8Array, ends: Uint32Array, rows: number): void {
    const [from, first, target] = [this.#usedBytes, this.#rows, this.#ends]
    for (let row = 0; row < rows; row++) target[first + row] = from + ends[row]!
    this.#bytes.set(bytes, from)
    this.#usedBytes += bytes.byteLength
    this.#rows += rows
  }

  clear(): void {
    this.#usedBytes = 0
    this.#rows = 0
  }
}

/** Gives blocks that are empty, and takes those that are no longer needed. */
export class RowBlocks {
  /** A place to note where rows end in what is added to a block, for one writer at a time. */
  readonly ends: Uint32Array = new Uint32Array(MAX_ADDED_BYTES)
  readonly #spare: RowBlock[] = []

  take(): RowBlock {
    return this.#spare.pop() ?? new RowBlock()
  }

  giveBack(block: RowBlock): void {
    block.clear()
    this.#spare.push(block)
  }
}
