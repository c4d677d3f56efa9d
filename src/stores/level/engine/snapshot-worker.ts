/** Entry point of the worker thread that snapshots a LevelDB database. */
import { workerData } from 'node:worker_threads'
import type { FromSnapshotWorker } from '../../worker/worker-messages.ts'
import { ChunkSink, WorkerPort } from '../../worker/worker-port.ts'
import { loadPayloadIds } from './payload-ids-module.ts'
import { type SnapshotRequest, withDatabase } from './worker-requests.ts'
import { writeSnapshot } from './write-snapshot.ts'

const port = new WorkerPort()
const request = workerData as SnapshotRequest

await port.run(() => withDatabase(request.location, async (db): Promise<FromSnapshotWorker> => {
  const sink = new ChunkSink(port)
  const { payloadIdsOf, newCounter } = await loadPayloadIds(request.payloadIdsModule)
  const payloadIds = await writeSnapshot(db, sink, {
    ...request,
    payloadIdsOf,
    counter: newCounter?.(request),
    checkpoint: () => port.checkStop(),
    onProgress: (progress) => sink.setProgress(progress),
    allocate: sink.allocate,
  })
  return { type: 'done', summary: sink.summary, payloadIds: payloadIds.detach() }
}))
