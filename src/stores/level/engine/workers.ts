/** Runs snapshots and restores in a worker thread. */
import type { BackupOptions, SnapshotProgress, SnapshotSink, SnapshotSource, StoreKind } from '../../../contracts/backupable.ts'
import { BackupUnsupportedError, StoreUnavailableError } from '../../../errors/errors.ts'
import type { PayloadIdSet } from '../../../payload-ids/payload-id-set.ts'
import type { Interrupt } from '../../../util/interrupt.ts'
import { WorkerLink, receiveSnapshot, sendSnapshot } from '../../worker/worker-link.ts'
import type { FromRestoreWorker, FromSnapshotWorker } from '../../worker/worker-messages.ts'
import type { KeyRange, Section } from './key-spans.ts'
import type { RecordEncoding } from './database-view.ts'
import type { LevelDatabase } from './text-database.ts'
import type { RestoreRequest, SnapshotRequest } from './worker-requests.ts'

interface StoreOptions {
  readonly sections: readonly Section[]
  readonly ownKeys: KeyRange | undefined
  readonly storeKind: StoreKind
  readonly schemaVersion: number
  readonly interrupt: Interrupt
  readonly onProgress?: ((progress: SnapshotProgress) => void) | undefined
}

export interface WorkerSnapshotOptions extends StoreOptions, Pick<BackupOptions, 'backupId' | 'compress'> {
  readonly storeId: string
  readonly encoding: RecordEncoding
  readonly payloadIdsModule: string
  readonly spillDirectory: string | undefined
}

export interface WorkerRestoreOptions extends StoreOptions {
  readonly accepts: readonly StoreKind[]
}

/** Runs `writeSnapshot` in a worker, and writes its chunks to the sink. */
export async function snapshotInWorker(db: LevelDatabase, sink: SnapshotSink, options: WorkerSnapshotOptions): Promise<PayloadIdSet> {
  const { interrupt, onProgress, ...given } = options
  const { backupId, compress, sections, ownKeys, storeKind, storeId, schemaVersion, encoding, payloadIdsModule, spillDirectory } = given
  const location = await locationOf(db)
  const request: SnapshotRequest = { location, backupId, compress, sections, ownKeys, storeKind, storeId, schemaVersion, encoding, payloadIdsModule, spillDirectory }
  const url = new URL('./snapshot-worker.js', import.meta.url)
  return await withWorker<FromSnapshotWorker, PayloadIdSet>(db, { url, request, name: 'holdfast-snapshot', interrupt }, (link) =>
    receiveSnapshot(link, sink, onProgress),
  )
}

/** Runs `readSnapshot` in a worker, and feeds it from the source. */
export async function restoreInWorker(db: LevelDatabase, source: SnapshotSource, options: WorkerRestoreOptions): Promise<void> {
  const { sections, ownKeys, storeKind, accepts, schemaVersion, interrupt, onProgress } = options
  const location = await locationOf(db)
  const request: RestoreRequest = { location, sections, ownKeys, storeKind, accepts, schemaVersion }
  const url = new URL('./restore-worker.js', import.meta.url)
  await withWorker<FromRestoreWorker, void>(db, { url, request, name: 'holdfast-restore', interrupt }, (link) => sendSnapshot(link, source, { onProgress }))
}

interface WorkerStart {
  readonly url: URL
  readonly request: SnapshotRequest | RestoreRequest
  readonly name: string
  readonly interrupt: Interrupt
}

/** Starts a worker and talks to it; the worker has ended before the result is returned. Closing the database ends the worker first. */
async function withWorker<Received extends { readonly type: string }, T>(
  db: LevelDatabase,
  { url, request, name, interrupt }: WorkerStart,
  talk: (link: WorkerLink<Received>) => Promise<T>,
): Promise<T> {
  // The worker would open a closed database again and leave it open.
  if (db.status !== 'open') throw new StoreUnavailableError('Cannot use the store: its database is not open')
  const link = new WorkerLink<Received>(url, request, { name, interrupt })
  // The worker shares the LevelDB and the block cache of this handle: end the worker before they are freed.
  const close = async (): Promise<void> => {
    interrupt.fail(new StoreUnavailableError('Cannot continue: the database is being closed'))
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

/** The location of the database, after a check that a worker of this copy of classic-level can find its open handle. */
async function locationOf(db: LevelDatabase): Promise<string> {
  const { ClassicLevel } = await import('classic-level')
  if (db instanceof ClassicLevel) return db.location
  throw new BackupUnsupportedError('Cannot use a worker thread: the database is of another copy of classic-level than Holdfast loads', {
    hint: 'Install one version of classic-level, or leave out the option "multithreading"',
  })
}
