/** A socket that reads into the same memory again and again: otherwise every read is 64 KiB of fresh memory. */
import { type ConnectOpts, type SocketConstructorOpts, Socket } from 'node:net'

const READ_BYTES: number = 64 * 1024

/** Takes what was read. The memory is the socket's: it is used again afterwards. */
export type ChunkTaker = (chunk: Buffer) => void

export class RecyclingSocket extends Socket {
  /** Takes what is read; without it, listeners for data are given copies. */
  taker: ChunkTaker | undefined

  constructor() {
    const memory = Buffer.allocUnsafeSlow(READ_BYTES)
    const options: SocketConstructorOpts & ConnectOpts = { onread: { buffer: memory, callback: (bytes) => this.#take(memory.subarray(0, bytes)) } }
    super(options)
  }

  #take(chunk: Buffer): boolean {
    if (this.taker === undefined) return this.push(Buffer.from(chunk))
    this.taker(chunk)
    return true
  }
}
