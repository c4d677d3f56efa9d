/** Bytes appended once and read many times: in memory while few, beyond that in a file that has no name any more. */
import { randomBytes } from 'node:crypto'
import { closeSync, constants, openSync, read as readCallback, unlinkSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

export interface SpillOptions {
  readonly spillDirectory?: string | undefined
  readonly memoryLimitBytes?: number | undefined
}

/** A spill as plain data; `fd` is the file's descriptor, good in every thread of the process. */
export type SpillState = { readonly chunks: readonly Uint8Array[]; readonly fd?: undefined } | { readonly fd: number; readonly bytes: number }

/** Small, as many runs may be read at once when they are merged. */
const READ_BYTES: number = 32 * 1024
const PRIVATE_FILE = 0o600
const readAsync = promisify(readCallback)

/** The last resort for a spill that nobody closed. */
const abandoned = new FinalizationRegistry<number>((fd) => {
  closeSync(fd)
})

export class Spill {
  /** Bytes appended so far. */
  bytes = 0
  readonly #options: SpillOptions
  #chunks: Uint8Array[] = []
  #fd: number | undefined
  #closed = false

  constructor(options: SpillOptions = {}) {
    this.#options = options
  }

  static from(state: SpillState): Spill {
    const spill = new Spill()
    if (state.fd === undefined) {
      spill.#chunks = [...state.chunks]
      spill.bytes = state.chunks.reduce((bytes, chunk) => bytes + chunk.byteLength, 0)
    } else {
      spill.bytes = state.bytes
      spill.#own(state.fd)
    }
    return spill
  }

  /** Gives the bytes up as plain data; the spill is closed without freeing them. */
  detach(): SpillState {
    const fd = this.#fd
    const chunks = this.#chunks
    this.#release()
    return fd === undefined ? { chunks } : { fd, bytes: this.bytes }
  }

  /** Takes the chunk over. Synchronous, as it is called from between two records of a scan. */
  append(chunk: Uint8Array): void {
    if (this.#closed) throw new TypeError('The spill is closed')
    this.bytes += chunk.byteLength
    if (this.#fd === undefined) {
      this.#chunks.push(chunk)
      if (this.bytes <= (this.#options.memoryLimitBytes ?? Number.POSITIVE_INFINITY)) return
      this.#own(openUnnamed(this.#options.spillDirectory ?? tmpdir()))
      for (const kept of this.#chunks) this.#write(kept)
      this.#chunks = []
    } else this.#write(chunk)
  }

  /** The bytes from `start` to `end`. */
  async *read(start: number, end: number = this.bytes): AsyncGenerator<Uint8Array, void, undefined> {
    if (this.#closed) throw new TypeError('The spill is closed')
    if (this.#fd === undefined) yield* this.#readMemory(start, end)
    for (let position = start; this.#fd !== undefined && position < end; ) {
      const buffer = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, end - position))
      const { bytesRead } = await readAsync(this.#fd, buffer, 0, buffer.byteLength, position)
      if (bytesRead === 0) throw new Error('A spill file is shorter than what was written to it')
      position += bytesRead
      yield buffer.subarray(0, bytesRead)
    }
  }

  async close(): Promise<void> {
    const fd = this.#fd
    this.#release()
    if (fd !== undefined) closeSync(fd)
  }

  *#readMemory(start: number, end: number): Generator<Uint8Array, void, undefined> {
    let position = 0
    for (const chunk of this.#chunks) {
      const from = Math.max(start - position, 0)
      const to = Math.min(end - position, chunk.byteLength)
      if (from < to) yield chunk.subarray(from, to)
      position += chunk.byteLength
    }
  }

  #own(fd: number): void {
    this.#fd = fd
    abandoned.register(this, fd, this)
  }

  #release(): void {
    abandoned.unregister(this)
    this.#fd = undefined
    this.#chunks = []
    this.#closed = true
  }

  #write(chunk: Uint8Array): void {
    const fd = this.#fd
    if (fd === undefined) return
    for (let written = 0; written < chunk.byteLength; ) written += writeSync(fd, chunk, written)
  }
}

/** Opens a file and removes its name at once: whatever happens to the process, nothing is left behind. */
function openUnnamed(directory: string): number {
  const path = join(directory, `holdfast-${randomBytes(12).toString('hex')}.spill`)
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, PRIVATE_FILE)
  try {
    unlinkSync(path)
  } catch (error) {
    closeSync(fd)
    throw error
  }
  return fd
}
