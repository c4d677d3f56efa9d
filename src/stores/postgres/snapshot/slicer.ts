/** Cuts the rows of a table into slices, always at the same places, however the bytes come. */
import type { Allocate } from '../../../format/frame.ts'
import { MAX_SLICE_BYTES, SLICE_BYTES } from './archive.ts'
import type { Piece } from '../connection/copy-out.ts'
import { EntryFrame } from './entry-frame.ts'

/** Room for the row that a slice ends with. */
const LAST_ROW_BYTES: number = 32 * 1024

export interface Slice {
  readonly entry: EntryFrame
  /** Rows that end in it. */
  readonly rows: number
}

/**
 * Takes the pieces of a table in order and gives its slices: each as soon as more bytes follow it, the last by `end`. A slice ends with the
 * first row that makes it `SLICE_BYTES` long, or within a row, when it has `MAX_SLICE_BYTES` otherwise.
 */
export class Slicer {
  readonly #allocate: Allocate | undefined
  #entry: EntryFrame | undefined
  #rows = 0
  #isFull = false

  constructor(allocate?: Allocate) {
    this.#allocate = allocate
  }

  /** The last slice, with these bytes after its rows; `undefined` when there was nothing. */
  end(trailer: Buffer): Slice | undefined {
    if (this.#entry === undefined) return undefined
    this.#entry.append(trailer)
    return this.#take(this.#entry)
  }

  *add({ bytes, ends }: Piece): Generator<Slice, void, undefined> {
    let row = 0
    for (let from = 0; from < bytes.byteLength; ) {
      if (this.#isFull && this.#entry !== undefined) yield this.#take(this.#entry)
      const entry = (this.#entry ??= new EntryFrame(SLICE_BYTES + LAST_ROW_BYTES, this.#allocate))
      const enough = from + SLICE_BYTES - entry.contentBytes
      const most = from + MAX_SLICE_BYTES - entry.contentBytes
      const first = row
      while ((ends[row] ?? Infinity) < enough) row++
      const end = ends[row] ?? Infinity
      if (end <= most) row++
      const to = Math.min(end, most, bytes.byteLength)
      this.#isFull = end <= most || to === most
      this.#rows += row - first
      entry.append(bytes.subarray(from, to))
      from = to
    }
  }

  #take(entry: EntryFrame): Slice {
    const slice = { entry, rows: this.#rows }
    this.#entry = undefined
    this.#rows = 0
    this.#isFull = false
    return slice
  }
}
