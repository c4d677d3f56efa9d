/** Reads what `COPY ... TO STDOUT` sends, straight from the socket: `pg` would make an object of every row. */
import { InternalError } from '../../../errors/errors.ts'
import { Condition } from '../../../util/condition.ts'
import type { Patience } from './answer-deadline.ts'
import { type Submittable, type WireConnection, copiedRows } from './client.ts'
import { type ChunkTaker, RecyclingSocket } from './recycling-socket.ts'
import { MAX_ADDED_BYTES, RowBlock } from './row-block.ts'

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
  readonly wait: Patience
  /** Blocks that are not in use: taken from and given back to. @default its own */
  readonly spare?: RowBlock[] | undefined
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
  readonly #wait: Patience
  readonly #isBinary: boolean
  readonly #spare: RowBlock[]
  /** What was read and not asked for; more is added to the last one. */
  readonly #queue: RowBlock[] = []
  #queuedBytes = 0
  /** The one that the last piece is in. */
  #given: RowBlock | undefined
  #settle: () => void = () => undefined
  #isFinished = false
  #failure: Error | undefined
  readonly #state = new Condition()
  #connection: WireConnection | undefined
  #listeners: ChunkTaker[] = []
  /** As much of a message's header as there was. */
  readonly #header: Buffer = Buffer.alloc(MESSAGE_HEADER_BYTES)
  #headerBytes = 0
  /** What is still to come of the message: of a row, of what is not one at its beginning, of a message for `pg`. */
  #rowBytes = 0
  #skipBytes: number
  #foreignBytes = 0
  #isRow = false
  #rows = 0

  constructor(text: string, { format, limitBytes, toError, wait, spare = [] }: CopyOutOptions) {
    this.#wait = wait
    this.#spare = spare
    this.#toError = toError
    this.#text = text
    this.#limitBytes = limitBytes
    this.#isBinary = format === 'binary'
    this.#skipBytes = this.#isBinary ? BINARY_HEADER.byteLength : 0
    this.finished = new Promise((resolve, reject) => {
      this.#settle = () => (this.#failure === undefined ? resolve() : reject(this.#failure))
    })
    this.finished.catch(() => undefined)
  }

  /**
   * The next bytes, in memory that the next call uses again; `undefined` at the end. Rejects with what the server or the connection failed
   * with.
   */
  async next(): Promise<Piece | undefined> {
    if (this.#given !== undefined) this.#giveBack(this.#given)
    this.#given = undefined
    await this.#state.until(() => this.#queue.length > 0 || this.#failure !== undefined || this.#isFinished, this.#wait)
    const block = this.#queue.shift()
    if (block === undefined) {
      if (this.#failure !== undefined) throw this.#failure
      return undefined
    }
    this.#given = block
    this.#queuedBytes -= block.size
    if (this.#queuedBytes < this.#limitBytes && !this.#isFinished) this.#connection?.stream.resume()
    return { bytes: block.memory.subarray(0, block.bytes), ends: block.ends.subarray(0, block.rows) }
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
    this.#settle()
    this.#state.changed()
  }

  readonly #take = (chunk: Buffer): void => {
    for (let from = 0; from < chunk.byteLength; from += MAX_ADDED_BYTES) this.#addRows(chunk.subarray(from, from + MAX_ADDED_BYTES))
    if (this.#queue.length === 0) return
    if (this.#queuedBytes >= this.#limitBytes && !this.#isFinished) this.#connection?.stream.pause()
    this.#state.changed()
  }

  #addRows(chunk: Buffer): void {
    const last = this.#queue.at(-1)
    const block = last?.hasRoom === true ? last : (this.#spare.pop() ?? new RowBlock())
    const sizeBefore = block.size
    this.#compact(chunk, block)
    this.#queuedBytes += block.size - sizeBefore
    if (block === last) return
    if (block.size > 0) this.#queue.push(block)
    else this.#giveBack(block)
  }

  #giveBack(block: RowBlock): void {
    block.bytes = 0
    block.rows = 0
    this.#spare.push(block)
  }

  /** Moves the bytes of rows to the front of the chunk, and copies them into the block at once. All other messages go to `pg`. */
  #compact(chunk: Buffer, block: RowBlock): void {
    const base = block.bytes
    let written = 0
    for (let read = 0; read < chunk.byteLength; ) {
      if (this.#isFinished || this.#foreignBytes > 0) {
        read = this.#passOn(chunk, read)
      } else if (this.#rowBytes > 0) {
        const from = read + Math.min(this.#skipBytes, this.#rowBytes, chunk.byteLength - read)
        const to = Math.min(read + this.#rowBytes, chunk.byteLength)
        chunk.copyWithin(written, from, to)
        written += to - from
        this.#skipBytes -= from - read
        this.#rowBytes -= to - read
        read = to
        if (this.#rowBytes === 0 && this.#isRow) this.#endRow(block, base + written)
      } else {
        const rows = block.rows
        if (this.#headerBytes === 0 && this.#skipBytes === 0) read = this.#compactRows(chunk, { from: read, to: written }, block)
        if (block.rows === rows) read = this.#readHeader(chunk, read)
        else written = (block.ends[block.rows - 1] ?? base) - base
      }
    }
    chunk.copy(block.memory, base, 0, written)
    block.bytes = base + written
  }

  /**
   * Moves rows whose messages are whole to where the bytes written so far end, and gives the position after them: nearly all go this way.
   */
  #compactRows(chunk: Buffer, { from, to }: { readonly from: number; readonly to: number }, block: RowBlock): number {
    const { bytes: base, ends } = block
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    const length = chunk.byteLength
    let [read, written, rows] = [from, to, block.rows]
    for (;;) {
      const start = read + MESSAGE_HEADER_BYTES
      if (start > length || chunk[read] !== COPY_DATA) break
      const end = read + 1 + view.getInt32(read + 1)
      // The shortest may be the trailer, not a row.
      if (end > length || end - start <= BINARY_TRAILER.byteLength) break
      chunk.copyWithin(written, start, end)
      written += end - start
      ends[rows++] = base + written
      read = end
    }
    this.#rows += rows - block.rows
    block.rows = rows
    return read
  }

  #endRow(block: RowBlock, end: number): void {
    this.#rows++
    block.ends[block.rows++] = end
  }

  /** Reads as much of a message's header as there is, and gives the position after it. */
  #readHeader(chunk: Buffer, from: number): number {
    const to = Math.min(from + MESSAGE_HEADER_BYTES - this.#headerBytes, chunk.byteLength)
    chunk.copy(this.#header, this.#headerBytes, from, to)
    this.#headerBytes += to - from
    if (this.#headerBytes === MESSAGE_HEADER_BYTES) this.#begin()
    return to
  }

  #begin(): void {
    this.#headerBytes = 0
    const bytes = this.#header.readInt32BE(1) + 1 - MESSAGE_HEADER_BYTES
    if (this.#header[0] !== COPY_DATA) {
      this.#foreignBytes = MESSAGE_HEADER_BYTES + bytes
      this.#passOn(this.#header, 0)
      return
    }
    this.#rowBytes = bytes
    if (this.#isBinary && bytes - this.#skipBytes === BINARY_TRAILER.byteLength) this.#skipBytes = bytes
    this.#isRow = bytes > this.#skipBytes
  }

  /** Gives `pg` what there is of its message, or everything when the command has ended. Returns the position after it. */
  #passOn(chunk: Buffer, from: number): number {
    const to = this.#isFinished ? chunk.byteLength : Math.min(from + this.#foreignBytes, chunk.byteLength)
    this.#foreignBytes -= to - from
    // A copy: the chunk is written to while the listener may keep what it was given.
    const message = Buffer.from(chunk.subarray(from, to))
    for (const listener of this.#listeners) listener(message)
    return to
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
