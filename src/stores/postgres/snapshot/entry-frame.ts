/** A frame that holds one entry of the archive, made in the memory that goes to the sink. */
import { type Allocate, CRC_BYTES, FRAME_HEADER_BYTES, contentOf, newFrame } from '../../../format/frame.ts'
import { TAR_BLOCK_BYTES, encodeTarHeader, tarEntryBytes } from './tar-entry.ts'

/** Where the entry's content begins. */
const CONTENT_OFFSET: number = FRAME_HEADER_BYTES + TAR_BLOCK_BYTES

/** `append` its content, then `end`. */
export class EntryFrame {
  readonly #allocate: Allocate | undefined
  #memory: Buffer
  #contentBytes = 0

  /** `contentBytes` is how much content is expected; more is taken at the price of a copy. */
  constructor(contentBytes: number, allocate: Allocate | undefined) {
    this.#allocate = allocate
    this.#memory = newFrame(tarEntryBytes(contentBytes), allocate)
  }

  get contentBytes(): number {
    return this.#contentBytes
  }

  append(bytes: Uint8Array): void {
    this.#makeRoom(CONTENT_OFFSET + this.#contentBytes + bytes.byteLength)
    this.#memory.set(bytes, CONTENT_OFFSET + this.#contentBytes)
    this.#contentBytes += bytes.byteLength
  }

  /** The frame, for `writeFrame`. After the entry come so many zeros. */
  end(name: string, { tailBytes = 0 }: { readonly tailBytes?: number | undefined } = {}): Buffer {
    const frameBytes = FRAME_HEADER_BYTES + tarEntryBytes(this.#contentBytes) + tailBytes + CRC_BYTES
    this.#makeRoom(frameBytes)
    const frame = this.#memory.subarray(0, frameBytes)
    const entry = contentOf(frame)
    entry.fill(0, 0, TAR_BLOCK_BYTES)
    encodeTarHeader(entry, { name, contentBytes: this.#contentBytes })
    entry.fill(0, TAR_BLOCK_BYTES + this.#contentBytes)
    return frame
  }

  #makeRoom(bytes: number): void {
    if (bytes <= this.#memory.byteLength) return
    const memory = newFrame(Math.max(bytes, 2 * this.#memory.byteLength), this.#allocate)
    this.#memory.copy(memory, 0, 0, CONTENT_OFFSET + this.#contentBytes)
    this.#memory = memory
  }
}
