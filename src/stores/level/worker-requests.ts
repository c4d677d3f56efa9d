/** What the worker threads of a level store are asked for: their `workerData`. */
import type { MessagePort } from 'node:worker_threads'
import type { StoreKind } from '../../backupable.ts'
import type { KeyRange, Section } from './key-spans.ts'
import type { RecordEncoding } from './store-view.ts'
import type { StreamOptions } from './stream-builder.ts'

/** How a worker opens the database, and what is where in it. */
export interface WorkerStore {
  /** The very text that the calling thread opened the database with: the binding finds the open handle by it. */
  readonly location: string
  readonly sections: readonly Section[]
  readonly ownKeys: KeyRange | undefined
}

/** Of the thread that reads. */
export interface ScanRequest extends WorkerStore {
  readonly encoding: RecordEncoding
  /** URL of the module that exports `payloadIds`. */
  readonly payloadIdsModule: string
  /** Where the frames go. */
  readonly frames: MessagePort
}

/** Of the thread that makes the stream. */
export interface SnapshotRequest extends StreamOptions {
  /** Where the frames come from. */
  readonly frames: MessagePort
}

export interface RestoreRequest extends WorkerStore {
  readonly accepts: readonly StoreKind[]
  readonly storeKind: StoreKind
  readonly schemaVersion: number
}
