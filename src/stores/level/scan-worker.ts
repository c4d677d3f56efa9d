/** Entry point of the worker thread that reads a LevelDB database for a snapshot. */
import { workerData } from 'node:worker_threads'
import type { FromScanWorker } from '../common/worker-messages.ts'
import { WorkerPort } from '../common/worker-port.ts'
import { FrameSender } from './frame-channel.ts'
import { keySpans } from './key-spans.ts'
import { loadPayloadIds } from './payload-ids-module.ts'
import { StoreView, scan } from './scan.ts'
import { withDatabase } from './worker-database.ts'
import type { ScanRequest } from './worker-requests.ts'

const port = new WorkerPort()
const { location, sections, ownKeys, encoding, payloadIdsModule, frames } = workerData as ScanRequest

await port.run(() =>
  withDatabase(location, async (db): Promise<FromScanWorker> => {
    // First of all, so that the snapshot is as near to the call as can be.
    const view = new StoreView(db, encoding)
    try {
      const sender = new FrameSender(port, frames, view.openedAtMs)
      const target = { writeFrame: sender.send.bind(sender), checkpoint: () => port.checkStop() }
      await scan(view, target, { spans: keySpans(sections, ownKeys), payloadIdsOf: await loadPayloadIds(payloadIdsModule) })
      sender.end()
    } finally {
      await view.close()
    }
    return { type: 'done' }
  }),
)
