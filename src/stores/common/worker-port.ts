/** A worker thread's end: chunks by credit, and a stop that reaches every wait. */
import { type MessagePort, parentPort } from 'node:worker_threads'
import { packError } from '../../error-transfer.ts'
import { InternalError } from '../../errors.ts'
import { lowerThreadPriority } from './thread-priority.ts'
import { type ToWorker, CHUNKS_IN_FLIGHT } from './worker-messages.ts'

export class WorkerPort {
  readonly #port: MessagePort
  readonly #chunks: Uint8Array[] = []
  #credits = CHUNKS_IN_FLIGHT
  #ended = false
  #stopped = false
  #wake: (() => void) | undefined
  #onStop: ((error: Error) => void) | undefined

  constructor() {
    if (parentPort === null) throw new InternalError('This module runs in worker threads only')
    this.#port = parentPort
    lowerThreadPriority()
    this.#port.on('message', (message: ToWorker) => this.#take(message))
  }

  post(message: object, transfer: readonly ArrayBuffer[] = []): void {
    this.#port.postMessage(message, transfer)
  }

  /** Throws when the calling thread wants no more. */
  checkStop(): void {
    if (this.#stopped) throw new Stopped(STOPPED)
  }

  /** Calls back, with the error that `checkStop` throws, when the calling thread wants no more. */
  onStop(stopped: (error: Error) => void): void {
    this.#onStop = stopped
    if (this.#stopped) stopped(new Stopped(STOPPED))
  }

  /** Waits until a chunk may be sent, and counts it. */
  async credit(): Promise<void> {
    await this.until(() => this.#credits > 0)
    this.#credits--
  }

  /** Waits until a condition holds, looking again after each message and each `wake`. Throws when the calling thread wants no more. */
  async until(condition: () => boolean): Promise<void> {
    for (;;) {
      this.checkStop()
      if (condition()) return
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  wake(): void {
    this.#wake?.()
  }

  /** The chunks that the calling thread sends; each is acknowledged, by what `acknowledge` makes, when the next is asked for. */
  async *chunks(acknowledge: () => object): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      await this.until(() => this.#chunks.length > 0 || this.#ended)
      const chunk = this.#chunks.shift()
      if (chunk === undefined) return
      yield chunk
      this.post(acknowledge())
    }
  }

  /** Runs the thread's task, reports how it went, and lets the thread end. */
  async run(task: () => Promise<object>): Promise<void> {
    try {
      this.post(await task())
    } catch (error) {
      if (!(error instanceof Stopped)) this.post({ type: 'failed', error: packError(error) })
    } finally {
      this.#port.close()
    }
  }

  #take(message: ToWorker): void {
    if (message.type === 'credit') this.#credits++
    else if (message.type === 'chunk') this.#chunks.push(message.bytes)
    else if (message.type === 'end') this.#ended = true
    else this.#stop()
    this.#wake?.()
  }

  #stop(): void {
    this.#stopped = true
    this.#onStop?.(new Stopped(STOPPED))
  }
}

/** Nobody is told: the calling thread knows why it ended the conversation. */
class Stopped extends Error {}

const STOPPED = 'The calling thread wants no more'
