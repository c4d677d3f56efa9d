/** Memory for rows on their way from a socket to the stream. It is used again: fresh memory costs more than what is written into it. */

const BLOCK_BYTES: number = 256 * 1024
/** Rows that may end in a block. */
const BLOCK_ROWS: number = 64 * 1024
/** At most so many bytes are added to a block at once, and at most as many rows end in them. */
export const MAX_ADDED_BYTES: number = 32 * 1024

/** Some bytes of rows, and where rows end in them. */
export class RowBlock {
  readonly memory: Buffer = Buffer.allocUnsafeSlow(BLOCK_BYTES)
  /** Where rows end, ascending; the first `rows` of these count. */
  readonly ends: Uint32Array = new Uint32Array(BLOCK_ROWS)
  bytes = 0
  rows = 0

  /** The memory in use, in bytes. */
  get size(): number {
    return this.bytes + this.rows * this.ends.BYTES_PER_ELEMENT
  }

  /** Whether more may be added. */
  get hasRoom(): boolean {
    return this.bytes + MAX_ADDED_BYTES <= BLOCK_BYTES && this.rows + MAX_ADDED_BYTES <= BLOCK_ROWS
  }
}
