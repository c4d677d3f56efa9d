/** Entry point of the worker thread that snapshots a schema. */
import { workerData } from 'node:worker_threads'
import type { FromSnapshotWorker } from '../../worker/worker-messages.ts'
import { ChunkSink, WorkerPort } from '../../worker/worker-port.ts'
import { withPool } from '../connection/worker-pool.ts'
import type { WorkerRequest } from './workers.ts'
import { type WriteSnapshotOptions, writeSnapshot } from './write-snapshot.ts'

const port = new WorkerPort()
const { connection, options } = workerData as WorkerRequest<WriteSnapshotOptions>

await port.run(() => withPool(port, { ...options, connection }, async (pool, interrupt): Promise<FromSnapshotWorker> => {
  const sink = new ChunkSink(port)
  const payloadIds = await writeSnapshot(pool, sink, {
    ...options,
    interrupt,
    allocate: sink.allocate,
    onProgress: (progress) => sink.setProgress(progress),
  })
  return { type: 'done', summary: sink.summary, payloadIds: payloadIds.detach() }
}))
