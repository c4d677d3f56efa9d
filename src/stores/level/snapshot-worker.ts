/** Entry point of the worker thread that makes the stream of a snapshot from the frames of a scan. */
import { workerData } from 'node:worker_threads'
import { ChunkSink } from '../common/chunk-sink.ts'
import type { FromSnapshotWorker } from '../common/worker-messages.ts'
import { WorkerPort } from '../common/worker-port.ts'
import { FrameReceiver } from './frame-channel.ts'
import { StreamBuilder } from './stream-builder.ts'
import type { SnapshotRequest } from './worker-requests.ts'

const port = new WorkerPort()
const { frames, ...options } = workerData as SnapshotRequest

await port.run(async (): Promise<FromSnapshotWorker> => {
  const receiver = new FrameReceiver(port, frames)
  const sink = new ChunkSink(port)
  const createdAtMs = await receiver.openedAtMs()
  const builder = new StreamBuilder(sink, { ...options, createdAtMs, onProgress: (progress) => sink.setProgress(progress) })
  try {
    await builder.start()
    for await (const frame of receiver.frames()) await builder.add(frame)
    const payloadIds = await builder.finish()
    return { type: 'done', summary: sink.summary, payloadIds: payloadIds.detach() }
  } finally {
    await builder.close()
  }
})
