/** Finds out how the frames of a stream are compressed, while its bytes pass. Checks nothing. */
import type { Compression } from '../contracts/backupable.ts'
import { CODECS, CRC_BYTES, FRAME_HEADER_BYTES, PREAMBLE_BYTES, decodeFrameHeader } from './frame.ts'

export class CodecScan {
  /** `zstd` where a frame so far is compressed. */
  compression: Compression = 'none'
  #skip = PREAMBLE_BYTES
  readonly #header: Buffer = Buffer.alloc(FRAME_HEADER_BYTES)
  #headerBytes = 0

  add(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.byteLength; ) {
      const skipped = Math.min(this.#skip, chunk.byteLength - at)
      this.#skip -= skipped
      at += skipped
      const part = chunk.subarray(at, at + FRAME_HEADER_BYTES - this.#headerBytes)
      this.#header.set(part, this.#headerBytes)
      this.#headerBytes += part.byteLength
      at += part.byteLength
      if (this.#headerBytes < FRAME_HEADER_BYTES) continue
      const { codec, storedBytes } = decodeFrameHeader(this.#header)
      if (codec === CODECS.zstd) this.compression = 'zstd'
      this.#skip = storedBytes + CRC_BYTES
      this.#headerBytes = 0
    }
  }
}
