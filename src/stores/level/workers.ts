/** Snapshots and restores in worker threads, as the calling thread sees them. */
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import type { SnapshotProgress, SnapshotSink, SnapshotSource, StoreKind } from '../../backupable.ts'
import { BackupUnsupportedError, StoreUnavailableError } from '../../errors.ts'
import type { PayloadIdSet } from '../../payload-ids.ts'
import type { Interrupt } from '../common/interrupt.ts'
import { WorkerLink } from '../common/worker-link.ts'
import type { FromRestoreWorker, FromScanWorker, FromSnapshotWorker } from '../common/worker-messages.ts'
import { receiveSnapshot, sendSnapshot } from '../common/worker-transfer.ts'
import type { KeyRange, Section } from './key-spans.ts'
import type { RecordEncoding } from './store-view.ts'
import type { LevelDatabase } from './text-database.ts'
import type { RestoreRequest, ScanRequest, SnapshotRequest } from './worker-requests.ts'

interface StoreOptions {
  readonly sections: readonly Section[]
  readonly ownKeys: KeyRange | undefined
  readonly storeKind: StoreKind
  readonly schemaVersion: number
  readonly interrupt: Interrupt
  readonly onProgress?: ((progress: SnapshotProgress) => void) | undefined
}

export interface WorkerSnapshotOptions extends StoreOptions {
  readonly storeId: string
  readonly encoding: RecordEncoding
  readonly payloadIdsModule: string
  readonly spillDirectory: string | undefined
}

export interface WorkerRestoreOptions extends StoreOptions {
  readonly accepts: readonly StoreKind[]
}

/**
 * Scans in one worker thread, which hands frames to another that makes the stream of them and sorts payload IDs: each has about
 * half of the work. The stream is written to the sink here.
 */
export async function snapshotInWorkers(db: LevelDatabase, sink: SnapshotSink, options: WorkerSnapshotOptions): Promise<PayloadIdSet> {
  const { interrupt, onProgress, sections, ownKeys, encoding, payloadIdsModule, storeKind, storeId, schemaVersion, spillDirectory } = options
  const location = await locationOf(db)
  const { port1, port2 } = new MessageChannel()
  const scan: ScanRequest = { location, sections, ownKeys, encoding, payloadIdsModule, frames: port1 }
  const snapshot: SnapshotRequest = { sections: sections.map(({ name }) => name), storeKind, storeId, schemaVersion, spillDirectory, frames: port2 }
  const scanning = { url: new URL('./scan-worker.js', import.meta.url), request: scan, name: 'holdfast-scan', interrupt, transfer: [port1] }
  const writing = { url: new URL('./snapshot-worker.js', import.meta.url), request: snapshot, name: 'holdfast-snapshot', interrupt, transfer: [port2] }
  return await withWorker<FromScanWorker, PayloadIdSet>(db, scanning, () =>
    withWorker<FromSnapshotWorker, PayloadIdSet>(db, writing, (link) => receiveSnapshot(link, sink, onProgress)),
  )
}

/** Runs `readSnapshot` in a worker, fed from the source here. */
export async function restoreInWorker(db: LevelDatabase, source: SnapshotSource, options: WorkerRestoreOptions): Promise<void> {
  const { sections, ownKeys, storeKind, accepts, schemaVersion, interrupt, onProgress } = options
  const location = await locationOf(db)
  const request: RestoreRequest = { location, sections, ownKeys, storeKind, accepts, schemaVersion }
  const url = new URL('./restore-worker.js', import.meta.url)
  await withWorker<FromRestoreWorker, void>(db, { url, request, name: 'holdfast-restore', interrupt }, (link) => sendSnapshot(link, source, { onProgress }))
}

interface WorkerStart {
  readonly url: URL
  readonly request: ScanRequest | SnapshotRequest | RestoreRequest
  readonly name: string
  readonly interrupt: Interrupt
  readonly transfer?: readonly MessagePort[] | undefined
}

/** Starts a worker, talks to it, and has it gone before the result is. Closing the database ends the worker first. */
async function withWorker<Received extends { readonly type: string }, T>(
  db: LevelDatabase,
  { url, request, name, interrupt, transfer }: WorkerStart,
  talk: (link: WorkerLink<Received>) => Promise<T>,
): Promise<T> {
  const link = new WorkerLink<Received>(url, request, { name, interrupt, transfer })
  // The worker uses the very LevelDB of this handle, and its block cache: it must be done before they go.
  const close = async (): Promise<void> => {
    interrupt.fail(new StoreUnavailableError('Cannot go on: the database is being closed'))
    await link.close()
  }
  const resource = { close, [Symbol.asyncDispose]: close }
  db.attachResource(resource)
  try {
    return await talk(link)
  } finally {
    await link.close()
    db.detachResource(resource)
  }
}

/** Where the database is, once it is certain that a worker of this copy of classic-level can find its open handle. */
async function locationOf(db: LevelDatabase): Promise<string> {
  const { ClassicLevel } = await import('classic-level')
  if (db instanceof ClassicLevel) return db.location
  throw new BackupUnsupportedError('Cannot use a worker thread for a database that is not of the classic-level which Holdfast loads', {
    hint: 'Install one version of classic-level, or leave out the option "multithreading"',
  })
}
