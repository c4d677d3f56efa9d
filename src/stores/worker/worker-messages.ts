/** What the calling thread and the worker threads of a store say to each other. Chunks are transferred, not copied. */
import type { SnapshotProgress, SnapshotSummary } from '../../contracts/backupable.ts'
import type { TransferredError } from '../../errors/error-transfer.ts'
import type { PayloadIdSetState } from '../../payload-ids/payload-id-set.ts'

/** Chunks that may be on their way at once. */
export const CHUNKS_IN_FLIGHT = 4

/** To either worker. */
export type ToWorker =
  /** Of a snapshot: one more chunk may be sent; how busy the server is, 0 to 1; the memory of an earlier chunk is no longer needed. */
  | { readonly type: 'credit'; readonly load: number; readonly memory?: ArrayBuffer | undefined }
  /** Of a restore: the next bytes of the stream. */
  | { readonly type: 'chunk'; readonly bytes: Uint8Array }
  /** Of a restore: the stream has ended. */
  | { readonly type: 'end' }
  /** Close everything and end; nothing more is expected. */
  | { readonly type: 'stop' }


/** From either worker: how it failed. Nothing comes after it. */
export interface WorkerFailed {
  readonly type: 'failed'
  readonly error: TransferredError
}

export type FromSnapshotWorker =
  | { readonly type: 'chunk'; readonly bytes: Uint8Array<ArrayBuffer>; readonly progress: SnapshotProgress }
  /** All chunks were sent. The set is the calling thread's from here on. */
  | { readonly type: 'done'; readonly summary: SnapshotSummary; readonly payloadIds: PayloadIdSetState }

export type FromRestoreWorker =
  /** A chunk was taken in: one more may be sent. */
  | { readonly type: 'credit'; readonly progress: SnapshotProgress }
  | { readonly type: 'done'; readonly progress: SnapshotProgress }
