/** Writes what `COPY ... FROM STDIN` reads, in chunks of any size. */
import { InternalError } from '../../../errors/errors.ts'
import { Condition } from '../../../util/condition.ts'
import type { Patience } from './answer-deadline.ts'
import { type Submittable, type WireConnection, copiedRows } from './client.ts'

/** One COPY. Give it to a client with `submit`, then `write` and `end`. One call at a time. */
export class CopyIn implements Submittable {
  readonly #text: string
  readonly #toError: (error: unknown) => Error
  readonly #wait: Patience
  #connection: WireConnection | undefined
  #isReady = false
  #isFinished = false
  #isEnded = false
  #failure: Error | undefined
  #rows = NaN
  readonly #state = new Condition()

  /** `toError` is what its failure is told as, `wait` how it waits for the server. */
  constructor(text: string, { toError, wait }: { readonly toError: (error: unknown) => Error; readonly wait: Patience }) {
    this.#text = text
    this.#wait = wait
    this.#toError = toError
  }

  /** Resolves when the bytes may be reused. Rejects with what the server or the connection failed with. */
  async write(bytes: Uint8Array): Promise<void> {
    await this.#until(() => this.#isReady)
    const stream = this.#connection?.stream
    if (stream === undefined) throw new InternalError('A COPY is ready without a connection')
    const header = Buffer.allocUnsafe(5)
    header[0] = 0x64
    header.writeInt32BE(bytes.byteLength + 4, 1)
    let isWritten = false
    stream.cork()
    stream.write(header)
    stream.write(bytes, () => {
      isWritten = true
      this.#state.changed()
    })
    stream.uncork()
    await this.#until(() => isWritten)
  }

  /** Ends the data; gives the number of rows that the server took. */
  async end(): Promise<number> {
    await this.#until(() => this.#isReady)
    this.#isEnded = true
    this.#connection?.endCopyFrom()
    await this.#until(() => this.#isFinished)
    return this.#rows
  }

  /** Gives up: the server forgets the rows and fails the transaction. Resolves when it has. */
  async abandon(): Promise<void> {
    try {
      await this.#until(() => this.#isReady)
      if (!this.#isEnded) this.#connection?.sendCopyFail('The restore was given up')
      await this.#until(() => this.#isFinished)
    } catch {
      // It fails: that is what it is for.
    }
  }

  submit(connection: WireConnection): void {
    connection.query(this.#text)
  }

  handleCopyInResponse(connection: WireConnection): void {
    this.#connection = connection
    this.#isReady = true
    this.#state.changed()
  }

  handleCommandComplete({ text }: { readonly text: string }): void {
    this.#rows = copiedRows(text)
  }

  handleError(error: Error): void {
    this.#failure ??= this.#toError(error)
    this.handleReadyForQuery()
  }

  handleReadyForQuery(): void {
    this.#isFinished = true
    this.#state.changed()
  }

  async #until(condition: () => boolean): Promise<void> {
    await this.#state.until(() => this.#failure !== undefined || condition(), this.#wait)
    if (this.#failure !== undefined) throw this.#failure
  }
}
