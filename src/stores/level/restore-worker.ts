/** Entry point of the worker thread that restores into a LevelDB database. */
import { workerData } from 'node:worker_threads'
import { readSnapshot } from './read-snapshot.ts'
import type { FromRestoreWorker, RestoreRequest } from './worker-messages.ts'
import { WorkerPort } from './worker-port.ts'

const port = new WorkerPort()
const request = workerData as RestoreRequest

await port.run(request.location, async (db): Promise<FromRestoreWorker> => {
  await readSnapshot(db, port.chunks(), {
    ...request,
    checkpoint: () => port.checkStop(),
    onProgress: (progress) => port.post({ type: 'progress', progress } satisfies FromRestoreWorker),
  })
  return { type: 'done' }
})
