/** Gathers a stream into chunks and sends them to the calling thread as it can take them. */
import type { SnapshotProgress, SnapshotSink, SnapshotSummary } from '../../backupable.ts'
import { InternalError } from '../../errors.ts'
import { type FromSnapshotWorker, CHUNK_BYTES } from './worker-messages.ts'
import type { WorkerPort } from './worker-port.ts'

export class ChunkSink implements SnapshotSink {
  readonly #port: WorkerPort
  #chunk: Uint8Array<ArrayBuffer> = newChunk()
  #filled = 0
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

  async write(bytes: Uint8Array): Promise<void> {
    for (let taken = 0; taken < bytes.byteLength; ) {
      const part = bytes.subarray(taken, taken + CHUNK_BYTES - this.#filled)
      this.#chunk.set(part, this.#filled)
      this.#filled += part.byteLength
      taken += part.byteLength
      if (this.#filled === CHUNK_BYTES) await this.#send()
    }
  }

  async finish(summary: SnapshotSummary): Promise<void> {
    if (this.#filled > 0) await this.#send()
    this.#summary = summary
  }

  async #send(): Promise<void> {
    await this.#port.credit()
    const bytes = this.#chunk.subarray(0, this.#filled)
    this.#port.post({ type: 'chunk', bytes, progress: this.#progress } satisfies FromSnapshotWorker, [bytes.buffer])
    this.#chunk = newChunk()
    this.#filled = 0
  }
}

/** Not zeroed, and of its own memory, so that it can be transferred. */
function newChunk(): Uint8Array<ArrayBuffer> {
  return Buffer.allocUnsafeSlow(CHUNK_BYTES)
}
