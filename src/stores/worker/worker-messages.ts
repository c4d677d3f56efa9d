/** The messages between the calling thread and the worker threads of a store. Chunks are transferred, not copied. */
import type { SnapshotProgress, SnapshotSummary } from '../../contracts/backupable.ts'
import type { TransferredError } from '../../errors/error-transfer.ts'
import type { PayloadIdSetState } from '../../payload-ids/payload-id-set.ts'

/** The most chunks in flight. */
export const CHUNKS_IN_FLIGHT = 4

/** To either worker. */
export type ToWorker =
  /** For a snapshot: one more chunk may be sent. `load` is the server's, 0 to 1; `memory` is that of an earlier chunk, to use again. */
  | { readonly type: 'credit'; readonly load: number; readonly memory?: ArrayBuffer | undefined }
  /** For a restore: the next bytes of the stream. */
  | { readonly type: 'chunk'; readonly bytes: Uint8Array }
  /** For a restore: the stream has ended. */
  | { readonly type: 'end' }
  /** Close everything and end. */
  | { readonly type: 'stop' }


/** From either worker: its failure, which is its last message. */
export interface WorkerFailed {
  readonly type: 'failed'
  readonly error: TransferredError
}

export type FromSnapshotWorker =
  | { readonly type: 'chunk'; readonly bytes: Uint8Array<ArrayBuffer>; readonly progress: SnapshotProgress }
  /** All chunks were sent. The calling thread now owns the set. */
  | { readonly type: 'done'; readonly summary: SnapshotSummary; readonly payloadIds: PayloadIdSetState }

export type FromRestoreWorker =
  /** A chunk was taken: one more may be sent. */
  | { readonly type: 'credit'; readonly progress: SnapshotProgress }
  | { readonly type: 'done'; readonly progress: SnapshotProgress }
