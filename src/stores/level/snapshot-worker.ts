/** Entry point of the worker thread that snapshots a LevelDB database. */
import { workerData } from 'node:worker_threads'
import { ChunkSink } from './chunk-sink.ts'
import { loadPayloadIds } from './payload-ids-module.ts'
import { type FromSnapshotWorker, type SnapshotRequest } from './worker-messages.ts'
import { WorkerPort } from './worker-port.ts'
import { writeSnapshot } from './write-snapshot.ts'

const port = new WorkerPort()
const request = workerData as SnapshotRequest

await port.run(request.location, async (db): Promise<FromSnapshotWorker> => {
  const sink = new ChunkSink(port)
  const payloadIds = await writeSnapshot(db, sink, {
    ...request,
    payloadIdsOf: await loadPayloadIds(request.payloadIdsModule),
    checkpoint: () => port.checkStop(),
    onProgress: (progress) => sink.setProgress(progress),
  })
  return { type: 'done', summary: sink.summary, payloadIds: payloadIds.detach() }
})
