/** Entry point of the worker thread that restores into a schema. */
import { workerData } from 'node:worker_threads'
import type { SnapshotProgress } from '../../../contracts/backupable.ts'
import { type FromRestoreWorker, CHUNKS_IN_FLIGHT } from '../../worker/worker-messages.ts'
import { WorkerPort } from '../../worker/worker-port.ts'
import { type ReadSnapshotOptions, readSnapshot } from './read-snapshot.ts'
import { withPool } from '../connection/worker-pool.ts'
import type { WorkerRequest } from './workers.ts'

const port = new WorkerPort()
const { connection, options } = workerData as WorkerRequest<ReadSnapshotOptions>

await port.run(() => withPool(port, { connection, connections: 1, answerTimeoutMs: options.answerTimeoutMs }, async (pool, interrupt): Promise<FromRestoreWorker> => {
  let progress: SnapshotProgress = { bytes: 0, records: 0 }
  await readSnapshot(pool, chunks(() => ({ type: 'credit', progress })), {
    ...options,
    interrupt,
    onProgress: (made) => {
      progress = made
    },
  })
  return { type: 'done', progress }
}))

/** Asks for chunks when they are first wanted. */
async function* chunks(credit: () => FromRestoreWorker): AsyncGenerator<Uint8Array, void, undefined> {
  for (let asked = 0; asked < CHUNKS_IN_FLIGHT; asked++) port.post(credit())
  yield* port.chunks(credit)
}
