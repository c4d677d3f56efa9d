/** Cuts the rows of a table into slices, always at the same places, however the bytes come. */
import { MAX_SLICE_BYTES, SLICE_BYTES } from './archive.ts'
import type { Piece } from './copy-out.ts'

export interface Slice {
  readonly parts: readonly Buffer[]
  readonly bytes: number
  /** Rows that end in it. */
  readonly rows: number
}

/**
 * Takes the pieces of a table in order and gives its slices: each as soon as more bytes follow it, the last by `end`. A slice ends with the
 * first row that makes it `SLICE_BYTES` long, or within a row, when it has `MAX_SLICE_BYTES` otherwise.
 */
export class Slicer {
  #parts: Buffer[] = []
  #bytes = 0
  #rows = 0
  #isFull = false

  /** The last slice, with these bytes after its rows; `undefined` when there was nothing. */
  end(trailer: Buffer): Slice | undefined {
    if (this.#bytes === 0) return undefined
    this.#append(trailer)
    return this.#take()
  }

  *add({ bytes, ends }: Piece): Generator<Slice, void, undefined> {
    let row = 0
    for (let from = 0; from < bytes.byteLength; ) {
      if (this.#isFull) yield this.#take()
      const enough = from + SLICE_BYTES - this.#bytes
      const most = from + MAX_SLICE_BYTES - this.#bytes
      const first = row
      while ((ends[row] ?? Infinity) < enough) row++
      const end = ends[row] ?? Infinity
      if (end <= most) row++
      const to = Math.min(end, most, bytes.byteLength)
      this.#isFull = end <= most || to === most
      this.#rows += row - first
      this.#append(bytes.subarray(from, to))
      from = to
    }
  }

  #append(part: Buffer): void {
    this.#parts.push(part)
    this.#bytes += part.byteLength
  }

  #take(): Slice {
    const slice = { parts: this.#parts, bytes: this.#bytes, rows: this.#rows }
    this.#parts = []
    this.#bytes = 0
    this.#rows = 0
    this.#isFull = false
    return slice
  }
}
