/** Sends a stream to the calling thread as it can take it: each chunk is given away, not copied. */
import type { SnapshotProgress, SnapshotSink, SnapshotSummary } from '../../backupable.ts'
import { InternalError } from '../../errors.ts'
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

  async write(chunk: Uint8Array): Promise<void> {
    await this.#port.credit()
    const bytes = ownMemory(chunk)
    this.#port.post({ type: 'chunk', bytes, progress: this.#progress } satisfies FromSnapshotWorker, [bytes.buffer])
  }

  async finish(summary: SnapshotSummary): Promise<void> {
    this.#summary = summary
  }
}

/** The chunk, or a copy when its memory has more in it: memory is transferred whole. */
function ownMemory(chunk: Uint8Array): Uint8Array<ArrayBuffer> {
  const isWhole = chunk.buffer instanceof ArrayBuffer && chunk.byteLength === chunk.buffer.byteLength
  return isWhole ? (chunk as Uint8Array<ArrayBuffer>) : new Uint8Array(chunk)
}
