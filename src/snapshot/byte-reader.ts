/** Reads exact numbers of bytes from a source of any chunking, copying only what spans chunks. */
import type { SnapshotSource } from '../backupable.ts'

export class ByteReader {
  readonly #iterator: AsyncIterator<Uint8Array>
  #chunk: Buffer = Buffer.alloc(0)
  #ended = false
  /** Bytes handed out so far. */
  position = 0

  constructor(source: SnapshotSource) {
    this.#iterator = source[Symbol.asyncIterator]()
  }

  /**
   * The next `length` bytes, or fewer at the end of the source. Memory is taken for bytes that came, never for a length
   * that was only claimed.
   */
  async read(length: number): Promise<Buffer> {
    if (this.#chunk.byteLength >= length) return this.#take(length)
    const parts: Buffer[] = []
    let bytes = 0
    while (bytes < length && (await this.#fill())) {
      const part = this.#take(Math.min(length - bytes, this.#chunk.byteLength))
      parts.push(part)
      bytes += part.byteLength
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts)
  }

  /** Whether no byte is left. */
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
