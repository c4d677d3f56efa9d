/** Runs snapshots and restores in a worker thread. */
import type { SnapshotProgress, SnapshotSink, SnapshotSource } from '../../../contracts/backupable.ts'
import { BackupUnsupportedError, StoreUnavailableError } from '../../../errors/errors.ts'
import { CLOSED_HINT } from '../../../errors/system-codes.ts'
import type { PayloadIdSet } from '../../../payload-ids/payload-id-set.ts'
import type { Interrupt } from '../../../util/interrupt.ts'
import { WorkerLink, receiveSnapshot, sendSnapshot } from '../../worker/worker-link.ts'
import type { FromRestoreWorker, FromSnapshotWorker } from '../../worker/worker-messages.ts'
import type { LevelDatabase } from './text-database.ts'
import type { RestoreRequest, SnapshotRequest } from './worker-requests.ts'

/** The work of a worker for one caller. */
interface Watch {
  readonly interrupt: Interrupt
  readonly onProgress: ((progress: SnapshotProgress) => void) | undefined
}

/** Runs `writeSnapshot` in a worker, and writes its chunks to the sink. */
export async function snapshotInWorker(
  db: LevelDatabase,
  sink: SnapshotSink,
  request: Omit<SnapshotRequest, 'location'>,
  { interrupt, onProgress }: Watch,
): Promise<PayloadIdSet> {
  const start = { url: new URL('./snapshot-worker.js', import.meta.url), request, name: 'holdfast-snapshot', interrupt }
  return await withWorker<FromSnapshotWorker, PayloadIdSet>(db, start, (link) => receiveSnapshot(link, sink, onProgress))
}

/** Runs `readSnapshot` in a worker, and feeds it from the source. */
export async function restoreInWorker(
  db: LevelDatabase,
  source: SnapshotSource,
  request: Omit<RestoreRequest, 'location'>,
  { interrupt, onProgress }: Watch,
): Promise<void> {
  const start = { url: new URL('./restore-worker.js', import.meta.url), request, name: 'holdfast-restore', interrupt }
  await withWorker<FromRestoreWorker, void>(db, start, (link) => sendSnapshot(link, source, { onProgress }))
}

interface WorkerStart {
  readonly url: URL
  readonly request: Omit<SnapshotRequest | RestoreRequest, 'location'>
  readonly name: string
  readonly interrupt: Interrupt
}

/** Starts a worker and talks to it; the worker has ended before the result is returned. Closing the database ends the worker first. */
async function withWorker<Received extends { readonly type: string }, T>(
  db: LevelDatabase,
  { url, request, name, interrupt }: WorkerStart,
  talk: (link: WorkerLink<Received>) => Promise<T>,
): Promise<T> {
  const location = await locationOf(db)
  // The worker would open a closed database again and leave it open.
  if (db.status !== 'open') throw new StoreUnavailableError('Cannot use the store: its database is not open', { hint: CLOSED_HINT })
  const link = new WorkerLink<Received>(url, { ...request, location }, { name, interrupt })
  // The worker shares the LevelDB and the block cache of this handle: end the worker before they are freed.
  const close = async (): Promise<void> => {
    interrupt.fail(new StoreUnavailableError('Cannot continue: the database is being closed', { hint: CLOSED_HINT }))
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
