/** Sends a stream to the calling thread as it can take it: the memory of each chunk is given away, not copied. */
import type { SnapshotProgress, SnapshotSink, SnapshotSummary } from '../../contracts/backupable.ts'
import { InternalError } from '../../errors/errors.ts'
import type { FromSnapshotWorker } from './worker-messages.ts'
import type { WorkerPort } from './worker-port.ts'

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

  /** The chunk has its memory for itself, as all that a `SnapshotWriter` writes. */
  async write(chunk: Uint8Array): Promise<void> {
    await this.#port.credit()
    const bytes = chunk as Uint8Array<ArrayBuffer>
    this.#port.post({ type: 'chunk', bytes, progress: this.#progress } satisfies FromSnapshotWorker, [bytes.buffer])
  }

  /** Memory for a chunk that will be written. */
  readonly allocate = (bytes: number): Buffer => this.#port.allocate(bytes)

  async finish(summary: SnapshotSummary): Promise<void> {
    this.#summary = summary
  }
}
