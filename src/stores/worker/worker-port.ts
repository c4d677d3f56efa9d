/** The worker thread's end: chunks by credit, a stop that reaches every wait, and the sink that sends a snapshot. */
import { type MessagePort, parentPort } from 'node:worker_threads'
import type { SnapshotProgress, SnapshotSink, SnapshotSummary } from '../../contracts/backupable.ts'
import { packError } from '../../errors/error-transfer.ts'
import { InternalError } from '../../errors/errors.ts'
import { Condition } from '../../util/condition.ts'
import { Pace, lowerThreadPriority } from './pace.ts'
import { type FromSnapshotWorker, type ToWorker, CHUNKS_IN_FLIGHT } from './worker-messages.ts'

/** Buffer sizes are rounded up to multiples of this, so that buffers fit other chunks too. */
const MEMORY_STEP_BYTES: number = 64 * 1024

export class WorkerPort {
  readonly #port: MessagePort
  readonly #chunks: Uint8Array[] = []
  readonly #spare: ArrayBuffer[] = []
  readonly #pace = new Pace(performance.now())
  #credits = CHUNKS_IN_FLIGHT
  #ended = false
  #stopped = false
  readonly #state = new Condition()
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

  /** Allocates memory for a chunk, from an earlier chunk if possible: fresh memory costs more than writing into it. */
  allocate(bytes: number): Buffer<ArrayBuffer> {
    const spare = this.#spare.pop()
    const memory = spare !== undefined && spare.byteLength >= bytes ? spare : Buffer.allocUnsafeSlow(Math.ceil(bytes / MEMORY_STEP_BYTES) * MEMORY_STEP_BYTES).buffer
    return Buffer.from(memory, 0, bytes)
  }

  /** Throws when the calling thread has closed the link. */
  checkStop(): void {
    if (this.#stopped) throw new Stopped(STOPPED)
  }

  /** Calls back, with the error that `checkStop` throws, when the calling thread has closed the link. */
  onStop(stopped: (error: Error) => void): void {
    this.#onStop = stopped
    if (this.#stopped) stopped(new Stopped(STOPPED))
  }

  /** Waits until a chunk may be sent, and counts it. Rests first if the server is busy. */
  async credit(): Promise<void> {
    await this.#rest(this.#pace.restMs(performance.now()))
    await this.#until(() => this.#credits > 0)
    this.#credits--
  }

  /** Yields the chunks of the calling thread. Posts the message of `acknowledge` for each when the next is read. */
  async *chunks(acknowledge: () => object): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      await this.#until(() => this.#chunks.length > 0 || this.#ended)
      const chunk = this.#chunks.shift()
      if (chunk === undefined) return
      yield chunk
      this.post(acknowledge())
    }
  }

  /** Runs the thread's task, posts its result or failure, and lets the thread end. */
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
    if (message.type === 'credit') {
      this.#credits++
      this.#pace.load = message.load
      if (message.memory !== undefined) this.#spare.push(message.memory)
    }
    else if (message.type === 'chunk') this.#chunks.push(message.bytes)
    else if (message.type === 'end') this.#ended = true
    else this.#stop()
    this.#state.changed()
  }

  async #rest(ms: number): Promise<void> {
    if (ms === 0) return
    const rest = { isOver: false }
    const timer = setTimeout(() => {
      rest.isOver = true
      this.#state.changed()
    }, ms)
    try {
      await this.#until(() => rest.isOver)
    } finally {
      clearTimeout(timer)
    }
  }

  async #until(condition: () => boolean): Promise<void> {
    await this.#state.until(() => this.#stopped || condition())
    this.checkStop()
  }

  #stop(): void {
    this.#stopped = true
    this.#onStop?.(new Stopped(STOPPED))
  }
}

/** Sends a snapshot to the calling thread, as fast as that thread takes it. Chunks are transferred, not copied. */
export class ChunkSink implements SnapshotSink {
  readonly #port: WorkerPort
  #progress: SnapshotProgress = { bytes: 0, records: 0 }
  #summary: SnapshotSummary | undefined

  constructor(port: WorkerPort) {
    this.#port = port
  }

  get summary(): SnapshotSummary {
    if (this.#summary === undefined) throw new InternalError('The snapshot was not finished')
    return this.#summary
  }

  setProgress(progress: SnapshotProgress): void {
    this.#progress = progress
  }

  /** Sends a chunk. The chunk must be alone in its memory, as those of `SnapshotWriter` are. */
  async write(chunk: Uint8Array): Promise<void> {
    await this.#port.credit()
    const bytes = chunk as Uint8Array<ArrayBuffer>
    this.#port.post({ type: 'chunk', bytes, progress: this.#progress } satisfies FromSnapshotWorker, [bytes.buffer])
  }

  /** Allocates memory for a chunk that will be written. */
  readonly allocate = (bytes: number): Buffer => this.#port.allocate(bytes)

  async finish(summary: SnapshotSummary): Promise<void> {
    this.#summary = summary
  }
}

/** Thrown when the calling thread has closed the link. Not reported back: that thread knows why. */
class Stopped extends Error {}

const STOPPED = 'The calling thread closed the link'
