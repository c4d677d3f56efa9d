/** Reads what `COPY ... TO STDOUT` sends, straight from the socket: `pg` would make an object of every row. */
import { InternalError } from '../../../errors/errors.ts'
import type { Patience } from './answers.ts'
import { type Submittable, type WireConnection, copiedRows } from './client.ts'
import { type ChunkTaker, RecyclingSocket } from './recycling-socket.ts'
import { MAX_ADDED_BYTES, type RowBlock, RowBlocks } from './row-blocks.ts'

export type CopyFormat = 'binary' | 'text'

/** Some bytes of rows, without the messages they came in, and without header and trailer of the binary format. */
export interface Piece {
  readonly bytes: Buffer
  /** Where rows end in it, ascending. */
  readonly ends: Uint32Array
}

export interface CopyOutOptions {
  readonly format: CopyFormat
  /** How much it reads ahead of `next`, in bytes, give or take what the socket gives at once. */
  readonly limitBytes: number
  /** What its failure is told as. */
  readonly toError: (error: unknown) => Error
  /** How it waits for the server's next bytes. */
  readonly patience: Patience
  /** Where the memory of its pieces comes from. @default its own */
  readonly blocks?: RowBlocks | undefined
}

/** type 1 | length 4, which counts itself */
const MESSAGE_HEADER_BYTES = 5
const COPY_DATA = 0x64
/** signature 11 | flags 4 | length of the extension 4 */
export const BINARY_HEADER: Buffer = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1')
/** The count of columns -1, which ends the rows. */
export const BINARY_TRAILER: Buffer = Buffer.from([0xff, 0xff])

/**
 * One COPY. Give it to a client with `submit`, then read it with `next`. The server sends one message for each row, and the trailer in
 * one of its own; that this was so is checked against the number of rows in the command's tag. A binary COPY has at least one column.
 */
export class CopyOut implements Submittable {
  /** Settles when the server has finished with the command; what was read may still wait for `next`. */
  readonly finished: Promise<void>
  readonly #text: string
  readonly #limitBytes: number
  readonly #toError: (error: unknown) => Error
  readonly #patience: Patience
  readonly #isBinary: boolean
  readonly #blocks: RowBlocks
  /** What was read and not asked for; more is added to the last one. */
  readonly #queue: RowBlock[] = []
  #queuedBytes = 0
  /** The one that the last piece is in. */
  #given: RowBlock | undefined
  #settle: (error: Error | undefined) => void = () => undefined
  #isFinished = false
  #failure: Error | undefined
  #wake: (() => void) | undefined
  #connection: WireConnection | undefined
  #listeners: ChunkTaker[] = []
  /** How many rows end in the chunk at hand. */
  #endCount = 0
  readonly #header: Buffer = Buffer.alloc(MESSAGE_HEADER_BYTES)
  #headerBytes = 0
  /** What is still to come of the message: of a row, of what is not one, of a message for `pg`. */
  #rowBytes = 0
  #skipBytes: number
  #foreignBytes = 0
  #isTrailer = false
  #isRowEmpty = false
  #rows = 0

  constructor(text: string, { format, limitBytes, toError, patience, blocks = new RowBlocks() }: CopyOutOptions) {
    this.#patience = patience
    this.#blocks = blocks
    this.#toError = toError
    this.#text = text
    this.#limitBytes = limitBytes
    this.#isBinary = format === 'binary'
    this.#skipBytes = this.#isBinary ? BINARY_HEADER.byteLength : 0
    this.finished = new Promise((resolve, reject) => {
      this.#settle = (error) => (error === undefined ? resolve() : reject(error))
    })
    this.finished.catch(() => undefined)
  }

  /**
   * The next bytes, whose memory is used again when more are asked for; `undefined` when there are no more. Rejects with what the server or
   * the connection failed with.
   */
  async next(): Promise<Piece | undefined> {
    if (this.#given !== undefined) this.#blocks.giveBack(this.#given)
    this.#given = undefined
    for (;;) {
      const block = this.#queue.shift()
      if (block !== undefined) {
        this.#given = block
        this.#queuedBytes -= block.size
        if (this.#queuedBytes < this.#limitBytes && !this.#isFinished) this.#connection?.stream.resume()
        return { bytes: block.bytes, ends: block.ends }
      }
      if (this.#failure !== undefined) throw this.#failure
      if (this.#isFinished) return undefined
      await this.#waitForMore()
    }
  }

  async #waitForMore(): Promise<void> {
    const more = new Promise<void>((resolve) => {
      this.#wake = resolve
    })
    await this.#patience(more).catch((error: unknown) => {
      throw this.#toError(error)
    })
  }

  submit(connection: WireConnection): void {
    const { stream } = connection
    this.#connection = connection
    this.#listeners = stream.listeners('data') as ChunkTaker[]
    if (stream instanceof RecyclingSocket) {
      stream.taker = this.#take
    } else {
      for (const listener of this.#listeners) stream.removeListener('data', listener)
      stream.on('data', this.#take)
    }
    connection.query(this.#text)
  }

  handleCommandComplete({ text }: { readonly text: string }): void {
    // In its text there may be a SELECT of its settings before the COPY, and after it what gives back its locks.
    if (text === 'SELECT 1' || text === 'ROLLBACK' || copiedRows(text) === this.#rows) return
    this.#failure = new InternalError(`The server sent ${this.#rows} messages of rows for the command tag ${JSON.stringify(text)}`)
  }

  handleRowDescription(): void {}

  handleDataRow(): void {}

  handleError(error: Error): void {
    this.#failure ??= this.#toError(error)
    this.handleReadyForQuery()
  }

  handleReadyForQuery(): void {
    if (this.#isFinished) return
    this.#isFinished = true
    this.#detach()
    this.#settle(this.#failure)
    this.#wake?.()
  }

  readonly #take = (chunk: Buffer): void => {
    for (let from = 0; from < chunk.byteLength; from += MAX_ADDED_BYTES) this.#addRows(chunk.subarray(from, from + MAX_ADDED_BYTES))
    if (this.#queue.length === 0) return
    if (this.#queuedBytes >= this.#limitBytes && !this.#isFinished) this.#connection?.stream.pause()
    this.#wake?.()
  }

  #addRows(chunk: Buffer): void {
    this.#endCount = 0
    const bytes = this.#compact(chunk)
    if (bytes === 0 && this.#endCount === 0) return
    let block = this.#queue.at(-1)
    if (block?.hasRoom !== true) {
      block = this.#blocks.take()
      this.#queue.push(block)
    }
    this.#queuedBytes -= block.size
    block.add(chunk.subarray(0, bytes), this.#blocks.ends, this.#endCount)
    this.#queuedBytes += block.size
  }

  /** Moves the bytes of rows to the front of the chunk, and gives their number. All other messages go where they would have gone. */
  #compact(chunk: Buffer): number {
    let written = 0
    for (let read = 0; read < chunk.byteLength; ) {
      if (this.#isBetweenMessages()) {
        const before = this.#endCount
        read = this.#compactRows(chunk, read, written)
        if (this.#endCount > before) {
          written = this.#blocks.ends[this.#endCount - 1] ?? written
          this.#rows += this.#endCount - before
          continue
        }
      }
      if (this.#isFinished || this.#foreignBytes > 0) {
        const length = this.#isFinished ? chunk.byteLength - read : Math.min(this.#foreignBytes, chunk.byteLength - read)
        this.#foreignBytes -= Math.min(length, this.#foreignBytes)
        // A copy: the chunk is written to while the listener may keep what it was given.
        const message = Buffer.from(chunk.subarray(read, read + length))
        read += length
        for (const listener of this.#listeners) listener(message)
      } else if (this.#rowBytes > 0) {
        const skipped = Math.min(this.#skipBytes, this.#rowBytes, chunk.byteLength - read)
        this.#skipBytes -= skipped
        const from = read + skipped
        const length = Math.min(this.#rowBytes - skipped, chunk.byteLength - from)
        if (length > 0) chunk.copyWithin(written, from, from + length)
        written += length
        read = from + length
        this.#rowBytes -= skipped + length
        if (this.#rowBytes === 0) this.#endRow(written)
      } else {
        read = this.#readHeader(chunk, read)
        if (!this.#isRowEmpty) continue
        this.#isRowEmpty = false
        this.#endRow(written)
      }
    }
    return written
  }

  /**
   * Moves rows whose messages are whole to where the bytes written so far end, and gives the position after them: nearly all rows go this
   * way.
   */
  #compactRows(chunk: Buffer, from: number, written: number): number {
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    const { ends } = this.#blocks
    const length = chunk.byteLength
    let endCount = this.#endCount
    let read = from
    let to = written
    for (;;) {
      const start = read + MESSAGE_HEADER_BYTES
      if (start > length || chunk[read] !== COPY_DATA) break
      const end = read + 1 + view.getInt32(read + 1)
      // The shortest may be the trailer, not a row.
      if (end > length || end - start <= BINARY_TRAILER.byteLength) break
      chunk.copyWithin(to, start, end)
      to += end - start
      ends[endCount++] = to
      read = end
    }
    this.#endCount = endCount
    return read
  }

  #isBetweenMessages(): boolean {
    return this.#rowBytes === 0 && this.#foreignBytes === 0 && this.#headerBytes === 0 && this.#skipBytes === 0 && !this.#isFinished
  }

  #endRow(position: number): void {
    if (this.#isTrailer) {
      this.#isTrailer = false
      return
    }
    this.#rows++
    this.#blocks.ends[this.#endCount++] = position
  }

  /** Reads as much of a message's header as there is, and gives the position after it. */
  #readHeader(chunk: Buffer, from: number): number {
    if (this.#headerBytes === 0 && chunk.byteLength - from >= MESSAGE_HEADER_BYTES) {
      this.#begin(chunk, from)
      return chunk[from] === COPY_DATA ? from + MESSAGE_HEADER_BYTES : from
    }
    const taken = Math.min(MESSAGE_HEADER_BYTES - this.#headerBytes, chunk.byteLength - from)
    chunk.copy(this.#header, this.#headerBytes, from, from + taken)
    this.#headerBytes += taken
    if (this.#headerBytes < MESSAGE_HEADER_BYTES) return from + taken
    this.#headerBytes = 0
    this.#begin(this.#header, 0)
    if (this.#foreignBytes > 0) {
      this.#foreignBytes -= MESSAGE_HEADER_BYTES
      for (const listener of this.#listeners) listener(Buffer.from(this.#header))
    }
    return from + taken
  }

  #begin(bytes: Buffer, at: number): void {
    const length = bytes.readInt32BE(at + 1)
    if (bytes[at] !== COPY_DATA) {
      this.#foreignBytes = length + 1
      return
    }
    this.#rowBytes = length - 4
    this.#isRowEmpty = this.#rowBytes === 0
    if (this.#isBinary && this.#rowBytes - this.#skipBytes === BINARY_TRAILER.byteLength) {
      this.#skipBytes += BINARY_TRAILER.byteLength
      this.#isTrailer = true
    }
  }

  #detach(): void {
    const stream = this.#connection?.stream
    if (stream === undefined) return
    if (stream instanceof RecyclingSocket) {
      stream.taker = undefined
    } else {
      stream.removeListener('data', this.#take)
      for (const listener of this.#listeners) stream.on('data', listener)
    }
    stream.resume()
  }
}
