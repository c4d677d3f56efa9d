/** Bytes that are appended once and read many times: in memory while few, else in an unlinked file. */
import { closeSync, read as readCallback, writeSync } from 'node:fs'
import { promisify } from 'node:util'
import { InternalError } from '../errors/errors.ts'
import { inAction } from '../util/system-errors.ts'
import { openUnnamed, spillFailure } from '../util/unnamed-file.ts'

export interface SpillOptions {
  readonly spillDirectory?: string | undefined
  readonly memoryLimitBytes?: number | undefined
}

export interface SpillReadOptions {
  /** @default the beginning of the spill */
  readonly start?: number | undefined
  /** @default the end of the spill */
  readonly end?: number | undefined
  /** Bytes of the file to read at once. @default 256 KiB */
  readonly readBytes?: number | undefined
}

/** A spill as plain data. `fd` is the file's descriptor, valid in every thread of the process. */
export type SpillState = { readonly chunks: readonly Uint8Array[]; readonly fd?: undefined } | { readonly fd: number; readonly bytes: number }

const READ_BYTES: number = 256 * 1024
const readAsync = promisify(readCallback)

/** Closes the file of a spill that was never closed. */
const abandoned = new FinalizationRegistry<number>((fd) => {
  closeSync(fd)
})

export class Spill {
  /** Bytes appended so far. */
  bytes = 0
  readonly #options: SpillOptions
  #chunks: Uint8Array[] = []
  #fd: number | undefined
  #reads = 0
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

  /** Turns the spill into plain data. Closes the spill without freeing the bytes. */
  detach(): SpillState {
    this.#checkOpen()
    if (this.#reads > 0) throw new TypeError('The payload IDs are being read')
    const [fd, chunks] = [this.#fd, this.#chunks]
    abandoned.unregister(this)
    this.#fd = undefined
    this.#chunks = []
    this.#closed = true
    return fd === undefined ? { chunks } : { fd, bytes: this.bytes }
  }

  /** Appends a chunk and takes it over. Synchronous, for a scan calls it between two records. */
  append(chunk: Uint8Array): void {
    this.#checkOpen()
    this.bytes += chunk.byteLength
    if (this.#fd === undefined) {
      this.#chunks.push(chunk)
      if (this.bytes <= (this.#options.memoryLimitBytes ?? Number.POSITIVE_INFINITY)) return
    }
    const { spillDirectory } = this.#options
    try {
      this.#write(spillDirectory, this.#fd === undefined ? this.#chunks : [chunk])
    } catch (cause) {
      // The file may end within the chunk: what came after would be read at the wrong place.
      void this.close()
      throw spillFailure('payload IDs', cause, spillDirectory)
    }
    this.#chunks = []
  }

  /** Reads the bytes. Throws a `TypeError` when the spill is closed meanwhile. */
  async *read({ start = 0, end = this.bytes, readBytes = READ_BYTES }: SpillReadOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    this.#checkOpen()
    if (this.#fd === undefined) yield* this.#readMemory(start, end)
    else for (let position = start; position < end; ) {
      const bytes = await this.#readFile(position, Math.min(readBytes, end - position))
      position += bytes.byteLength
      yield bytes
    }
  }

  /** Frees the memory, and the file once no read is under way. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true
    this.#chunks = []
    this.#freeFile()
  }

  *#readMemory(start: number, end: number): Generator<Uint8Array, void, undefined> {
    let position = 0
    for (const chunk of this.#chunks) {
      this.#checkOpen()
      const from = Math.max(start - position, 0)
      const to = Math.min(end - position, chunk.byteLength)
      if (from < to) yield chunk.subarray(from, to)
      position += chunk.byteLength
    }
  }

  async #readFile(position: number, length: number): Promise<Uint8Array> {
    this.#checkOpen()
    const fd = this.#fd ?? -1
    this.#reads++
    try {
      const { bytesRead, buffer } = await inAction(
        'read payload IDs back from a temporary file',
        () => readAsync(fd, Buffer.allocUnsafeSlow(length), 0, length, position),
      )
      if (bytesRead === 0) throw new InternalError('A spill file is shorter than what was written to it')
      return buffer.subarray(0, bytesRead)
    } finally {
      this.#reads--
      this.#freeFile()
    }
  }

  #write(directory: string | undefined, chunks: readonly Uint8Array[]): void {
    const fd = this.#fd ?? this.#own(openUnnamed(directory))
    for (const chunk of chunks) for (let written = 0; written < chunk.byteLength; ) written += writeSync(fd, chunk, written)
  }

  #own(fd: number): number {
    this.#fd = fd
    abandoned.register(this, fd, this)
    return fd
  }

  /** Closes the file unless a read is under way: its descriptor could be reused for another file. */
  #freeFile(): void {
    const fd = this.#fd
    if (fd === undefined || !this.#closed || this.#reads > 0) return
    abandoned.unregister(this)
    this.#fd = undefined
    closeSync(fd)
  }

  #checkOpen(): void {
    if (this.#closed) throw new TypeError('The payload IDs are closed')
  }
}
