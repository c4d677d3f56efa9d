/** Snapshots and restores in a worker thread, as the calling thread sees them: the bytes cross in chunks, by credit. */
import type { SnapshotProgress, SnapshotSink, SnapshotSource } from '../../contracts/backupable.ts'
import { PayloadIdSet } from '../../payload-ids/payload-id-set.ts'
import { ServerLoad } from './server-load.ts'
import type { WorkerLink } from './worker-link.ts'
import { type FromRestoreWorker, type FromSnapshotWorker, CHUNKS_IN_FLIGHT } from './worker-messages.ts'

type OnProgress = ((progress: SnapshotProgress) => void) | undefined

/** Writes the chunks of a worker's snapshot to the sink, and gives the set of payload IDs. */
export async function receiveSnapshot(link: WorkerLink<FromSnapshotWorker>, sink: SnapshotSink, onProgress: OnProgress): Promise<PayloadIdSet> {
  const serverLoad = new ServerLoad()
  for (;;) {
    const message = await link.receive()
    if (message.type === 'done') {
      const payloadIds = PayloadIdSet.from(message.payloadIds)
      await sink.finish(message.summary).catch(async (error: unknown) => {
        await payloadIds.close()
        throw error
      })
      return payloadIds
    }
    await sink.write(message.bytes)
    const memory = message.bytes.buffer
    const load = serverLoad.measure()
    if (sink.returnsChunks === true) link.post({ type: 'credit', load, memory }, [memory])
    else link.post({ type: 'credit', load })
    onProgress?.(message.progress)
  }
}

/**
 * Feeds a worker's restore from the source, and resolves when it has restored all of it. `credit` is how many chunks may be sent before the
 * worker asks; with none the source is not touched until it does.
 */
export async function sendSnapshot(
  link: WorkerLink<FromRestoreWorker>,
  source: SnapshotSource,
  { credit = CHUNKS_IN_FLIGHT, onProgress }: { readonly credit?: number | undefined; readonly onProgress: OnProgress },
): Promise<void> {
  const window = { free: credit }
  const receive = async (): Promise<boolean> => {
    const message = await link.receive()
    if (message.type === 'credit') window.free++
    onProgress?.(message.progress)
    return message.type === 'done'
  }
  while (window.free === 0) await receive()
  for await (const chunk of source) {
    window.free--
    // A copy: the chunk is the source's, which may give it again.
    const bytes = new Uint8Array(chunk)
    link.post({ type: 'chunk', bytes }, [bytes.buffer])
    while (window.free === 0) await receive()
  }
  link.post({ type: 'end' })
  while (!(await receive()));
}
