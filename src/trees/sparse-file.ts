/** Writes a file with holes where it is zero, as `cp --sparse=always` does. */
import type { FileHandle } from 'node:fs/promises'

/** The least size of a hole: a block of most file systems. */
const PAGE_BYTES = 4096
const ZEROS: Buffer = Buffer.alloc(PAGE_BYTES)

export class SparseFile {
  /** Bytes so far. */
  bytes = 0
  readonly #handle: FileHandle
  /** Where the last write ended. */
  #writtenTo = 0

  /** Takes a new, empty file, which the caller closes. */
  constructor(handle: FileHandle) {
    this.#handle = handle
  }

  async append(bytes: Uint8Array): Promise<void> {
    for (let from = 0; from < bytes.byteLength; ) {
      const start = endOfPages(bytes, from, true)
      const end = endOfPages(bytes, start, false)
      if (end > start) await this.#write(bytes.subarray(start, end), this.bytes + start)
      from = end
    }
    this.bytes += bytes.byteLength
  }

  /** Gives the file its size, where it ends with a hole: by its last byte, because some file systems have no `ftruncate`. */
  async finish(): Promise<void> {
    if (this.#writtenTo < this.bytes) await this.#write(ZEROS.subarray(0, 1), this.bytes - 1)
  }

  async #write(bytes: Uint8Array, position: number): Promise<void> {
    for (let written = 0; written < bytes.byteLength; ) {
      written += (await this.#handle.write(bytes, written, bytes.byteLength - written, position + written)).bytesWritten
    }
    this.#writtenTo = position + bytes.byteLength
  }
}

/** The end of the pages from a position on that are zero, or of those that are not. */
function endOfPages(bytes: Uint8Array, from: number, areZero: boolean): number {
  let end = from
  while (end < bytes.byteLength) {
    const page = bytes.subarray(end, end + PAGE_BYTES)
    if ((ZEROS.compare(page, 0, page.byteLength, 0, page.byteLength) === 0) !== areZero) return end
    end += page.byteLength
  }
  return end
}
