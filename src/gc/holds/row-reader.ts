/** Reads rows of bits from a stream of any chunking. */
import { RestoreCorruptError } from '../../errors/errors.ts'

const WORD_BYTES = 4

export class RowReader {
  readonly #chunks: AsyncIterator<Uint8Array>
  readonly #rowBytes: number
  #chunk: Buffer = Buffer.alloc(0)

  constructor(source: AsyncIterable<Uint8Array>, words: number) {
    this.#chunks = source[Symbol.asyncIterator]()
    this.#rowBytes = words * WORD_BYTES
  }

  /** Reads the words of the next rows. Rejects with `restore_corrupt` when there are fewer. */
  async take(rows: number): Promise<Uint32Array> {
    const words = new Uint32Array((rows * this.#rowBytes) / WORD_BYTES)
    const bytes = Buffer.from(words.buffer)
    for (let filled = 0; filled < bytes.byteLength; ) {
      if (this.#chunk.byteLength === 0 && !(await this.#load())) throw new RestoreCorruptError('Cannot read the rows of held payload IDs: there are fewer than IDs', { offset: 0 })
      const copied = this.#chunk.copy(bytes, filled)
      this.#chunk = this.#chunk.subarray(copied)
      filled += copied
    }
    return words
  }

  /** Reads the end. Rejects with `restore_corrupt` when there are more rows, and with what the source rejects with. */
  async end(): Promise<void> {
    if (this.#chunk.byteLength > 0 || (await this.#load())) throw new RestoreCorruptError('Cannot read the rows of held payload IDs: there are more than IDs', { offset: 0 })
  }

  async close(): Promise<void> {
    await this.#chunks.return?.()
  }

  async #load(): Promise<boolean> {
    for (;;) {
      const { done, value } = await this.#chunks.next()
      if (done === true) return false
      this.#chunk = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
      if (this.#chunk.byteLength > 0) return true
    }
  }
}
