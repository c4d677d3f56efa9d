/** The calling thread's end of a worker thread: messages in order, the first failure, a certain end, and snapshots in chunks by credit. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import type { SnapshotProgress, SnapshotSink, SnapshotSource } from '../../contracts/backupable.ts'
import { unpackError } from '../../errors/error-transfer.ts'
import { BackupUnsupportedError, InternalError } from '../../errors/errors.ts'
import { systemErrorKind } from '../../errors/system-codes.ts'
import { isSystemError } from '../../util/files.ts'
import { asHoldfastError } from '../../util/system-errors.ts'
import type { Interrupt } from '../../util/interrupt.ts'
import { Condition } from '../../util/condition.ts'
import { PayloadIdSet } from '../../payload-ids/payload-id-set.ts'
import { ServerLoad } from './pace.ts'
import { type FromRestoreWorker, type FromSnapshotWorker, type ToWorker, type WorkerFailed, CHUNKS_IN_FLIGHT } from './worker-messages.ts'

/** How long a worker may take to close its resources before it is terminated. */
const STOP_TIMEOUT_MS = 5000

/** A small young generation: what these threads allocate dies young, and a larger one saves nothing. */
const RESOURCE_LIMITS = { maxYoungGenerationSizeMb: 12 }

export class WorkerLink<Received extends { readonly type: string }> {
  readonly #worker: Worker
  readonly #exited: Promise<void>
  readonly #interrupt: Interrupt
  readonly #inbox: Received[] = []
  readonly #state = new Condition()
  /** Set when the worker has sent its last message. */
  #isDone = false
  #closing: Promise<void> | undefined

  /** Starts a worker. `request` is its `workerData`. Failures go to the interrupt. */
  constructor(url: URL, request: unknown, { name, interrupt }: { readonly name: string; readonly interrupt: Interrupt }) {
    this.#interrupt = interrupt
    // The worker opens the file of a payload ID set and this thread uses it: the file must outlive the worker.
    this.#worker = new Worker(url, { workerData: request, name, trackUnmanagedFds: false, resourceLimits: RESOURCE_LIMITS })
    this.#exited = new Promise((resolve) => {
      this.#worker.once('exit', (code) => {
        if (!this.#isDone) interrupt.fail(new InternalError(`The worker thread "${name}" ended unexpectedly, exit code ${code}`))
        resolve()
      })
    })
    this.#worker.on('error', (cause) => interrupt.fail(crashOf(name, url, cause)))
    this.#worker.on('messageerror', (cause) => interrupt.fail(new InternalError(`The worker thread "${name}" sent a message that cannot be read`, { cause })))
    this.#worker.on('message', (message: Received | WorkerFailed) => this.#take(message))
  }

  post(message: ToWorker, transfer: readonly ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer)
  }

  /** Receives the next message. Messages from before a failure are still received. */
  async receive(): Promise<Received> {
    await this.#state.until(() => this.#inbox.length > 0, (change) => this.#interrupt.race(change))
    return this.#inbox.shift() as Received
  }

  /** Asks the worker to close its resources and end; terminates a worker that does not. Resolves when the worker has ended. Idempotent. */
  async close(): Promise<void> {
    await (this.#closing ??= this.#close())
  }

  #take(message: Received | WorkerFailed): void {
    if (isFailed(message)) return this.#interrupt.fail(unpackError(message.error))
    this.#isDone ||= message.type === 'done'
    this.#inbox.push(message)
    this.#state.changed()
  }

  async #close(): Promise<void> {
    this.post({ type: 'stop' })
    const timer = setTimeout(() => {
      // Node closes the worker's resources with its environment.
      void this.#worker.terminate()
    }, STOP_TIMEOUT_MS)
    await this.#exited
    clearTimeout(timer)
  }
}

function crashOf(name: string, url: URL, cause: unknown): Error {
  if (systemErrorKind(cause) !== undefined) return asHoldfastError(cause, `start the worker thread "${name}"`)
  const isMissing = isSystemError(cause, 'ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND') && !existsSync(url)
  if (!isMissing) return new InternalError(`The worker thread "${name}" crashed: ${String(cause)}`, { cause })
  return new BackupUnsupportedError(`Cannot start the worker thread "${name}": its file "${fileURLToPath(url)}" is missing`, {
    cause,
    hint: 'Leave "holdfast" and "classic-level" out of the bundle, and deploy node_modules with it: see "Bundling" in CONTRIBUTING.md',
  })
}

type OnProgress = ((progress: SnapshotProgress) => void) | undefined

/** Writes the chunks of a worker's snapshot to the sink. Resolves with the set of payload IDs. */
export async function receiveSnapshot(link: WorkerLink<FromSnapshotWorker>, sink: SnapshotSink, onProgress: OnProgress): Promise<PayloadIdSet> {
  const serverLoad = new ServerLoad()
  for (;;) {
    const message = await link.receive()
    if (message.type === 'done') {
      const payloadIds = PayloadIdSet.from(message.payloadIds)
      await sink.finish(message.summary).catch(async (error: unknown) => {
        await payloadIds.close()
        throw error
      })
      return payloadIds
    }
    await sink.write(message.bytes)
    const memory = message.bytes.buffer
    const load = serverLoad.measure()
    if (sink.returnsChunks === true) link.post({ type: 'credit', load, memory }, [memory])
    else link.post({ type: 'credit', load })
    onProgress?.(message.progress)
  }
}

/**
 * Feeds a worker's restore from the source. Resolves when the worker has restored everything.
 * `credit` is the number of chunks sent before the worker asks; with 0 the source is not read until then.
 */
export async function sendSnapshot(
  link: WorkerLink<FromRestoreWorker>,
  source: SnapshotSource,
  { credit = CHUNKS_IN_FLIGHT, onProgress }: { readonly credit?: number | undefined; readonly onProgress: OnProgress },
): Promise<void> {
  const window = { free: credit }
  const receive = async (): Promise<boolean> => {
    const message = await link.receive()
    if (message.type === 'credit') window.free++
    onProgress?.(message.progress)
    return message.type === 'done'
  }
  while (window.free === 0) await receive()
  for await (const chunk of source) {
    window.free--
    // Copy the chunk: the source owns it, and may yield it again.
    const bytes = new Uint8Array(chunk)
    link.post({ type: 'chunk', bytes }, [bytes.buffer])
    while (window.free === 0) await receive()
  }
  link.post({ type: 'end' })
  while (!(await receive()));
}

function isFailed(message: { readonly type: string }): message is WorkerFailed {
  return message.type === 'failed'
}
