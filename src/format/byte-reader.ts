/** Reads exact numbers of bytes from a source of any chunking. Copies only what spans chunks. */
import type { SnapshotSource } from '../contracts/backupable.ts'

/** The most memory that is allocated at once for bytes that span chunks. More is allocated as bytes arrive. */
const GATHER_BYTES: number = 1024 * 1024

export class ByteReader {
  readonly #iterator: AsyncIterator<Uint8Array>
  #chunk: Buffer = Buffer.alloc(0)
  #ended = false
  position = 0

  constructor(source: SnapshotSource) {
    this.#iterator = source[Symbol.asyncIterator]()
  }

  /**
   * Reads the next `length` bytes, or fewer at the end of the source.
   * Allocates for bytes that arrived, not for a length that a damaged source claims.
   */
  async read(length: number): Promise<Buffer> {
    if (this.#chunk.byteLength === 0) await this.#fill()
    if (this.#chunk.byteLength >= length) return this.#take(length)
    let gathered: Buffer = Buffer.allocUnsafe(Math.min(length, GATHER_BYTES))
    let bytes = 0
    while (bytes < length && (await this.#fill())) {
      if (bytes === gathered.byteLength) gathered = grown(gathered, Math.min(length, 2 * bytes))
      const part = this.#take(Math.min(gathered.byteLength - bytes, this.#chunk.byteLength))
      part.copy(gathered, bytes)
      bytes += part.byteLength
    }
    return gathered.subarray(0, bytes)
  }

  async atEnd(): Promise<boolean> {
    return !(await this.#fill())
  }

  /** Leaves the source. Idempotent. */
  async close(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    await this.#iterator.return?.()
  }

  #take(length: number): Buffer {
    const taken = this.#chunk.subarray(0, length)
    this.#chunk = this.#chunk.subarray(length)
    this.position += length
    return taken
  }

  async #fill(): Promise<boolean> {
    while (this.#chunk.byteLength === 0) {
      if (this.#ended) return false
      const { done, value } = await this.#iterator.next()
      if (done === true) {
        this.#ended = true
        return false
      }
      this.#chunk = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    }
    return true
  }
}

function grown(bytes: Buffer, length: number): Buffer {
  const larger = Buffer.allocUnsafe(length)
  bytes.copy(larger)
  return larger
}
