/** Entry point of the worker thread that restores into a LevelDB database. */
import { workerData } from 'node:worker_threads'
import type { SnapshotProgress } from '../../../contracts/backupable.ts'
import type { FromRestoreWorker } from '../../worker/worker-messages.ts'
import { WorkerPort } from '../../worker/worker-port.ts'
import { nativeBatches } from './write-batches.ts'
import { readSnapshot } from './read-snapshot.ts'
import { type RestoreRequest, withDatabase } from './worker-requests.ts'

const port = new WorkerPort()
const request = workerData as RestoreRequest

await port.run(() => withDatabase(request.location, async (db): Promise<FromRestoreWorker> => {
  let progress: SnapshotProgress = { bytes: 0, records: 0 }
  const chunks = port.chunks(() => ({ type: 'credit', progress }) satisfies FromRestoreWorker)
  await readSnapshot(chunks, {
    ...request,
    newBatch: nativeBatches(db),
    checkpoint: () => port.checkStop(),
    onProgress: (made) => {
      progress = made
    },
  })
  return { type: 'done', progress }
}))
