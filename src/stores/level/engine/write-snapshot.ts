/** Writes a snapshot of a database, on the calling thread or in a worker. */
import type { BackupOptions, SnapshotSink } from '../../../contracts/backupable.ts'
import { undoOnError } from '../../../errors/clean-up.ts'
import { type PayloadIdSet, PayloadIdSetBuilder } from '../../../payload-ids/payload-id-set.ts'
import type { Allocate } from '../../../format/frame.ts'
import { SnapshotWriter } from '../../../format/snapshot-writer.ts'
import { type StoreDescription, keySpans } from './key-spans.ts'
import { type FrameCounter, checkCount } from './payload-id-counter.ts'
import { type RecordEncoding, DatabaseView } from './database-view.ts'
import { type PayloadIdExtractor, type ScannedFrame, scan } from './scan.ts'
import type { LevelDatabase } from './text-database.ts'
import { TotalBytes } from './total-bytes.ts'

export interface WriteSnapshotOptions extends StoreDescription, Pick<BackupOptions, 'backupId' | 'compress' | 'onProgress'> {
  readonly spillDirectory: string | undefined
  readonly encoding: RecordEncoding
  readonly payloadIdsOf: PayloadIdExtractor
  /** Made for this snapshot. */
  readonly counter: FrameCounter | undefined
  /** Called between batches: a chance to yield, or to end the snapshot by throwing. */
  readonly checkpoint: () => Promise<void> | void
  /** Allocates the memory of frames. @default fresh memory */
  readonly allocate?: Allocate | undefined
}

/** Writes the stream and resolves with the set of payload IDs, taken from the same view. The database must be open. */
export async function writeSnapshot(db: LevelDatabase, sink: SnapshotSink, options: WriteSnapshotOptions): Promise<PayloadIdSet> {
  const { sections, ownKeys, encoding, counter, checkpoint, allocate, spillDirectory, onProgress } = options
  // Open the view first, as near to the call as possible.
  const view = new DatabaseView(db, encoding)
  const { backupId, compress, storeKind, storeId, schemaVersion } = options
  const writer = new SnapshotWriter(sink, {
    backupId,
    compress,
    storeKind,
    storeId,
    schemaVersion,
    sections: sections.map(({ name }) => name),
    createdAtMs: view.openedAtMs,
  })
  const builder = new PayloadIdSetBuilder({ spillDirectory })
  let total: TotalBytes | undefined
  const writeFrame = async ({ section, records, lastKey, frame, payloadIds }: ScannedFrame): Promise<void> => {
    for (const list of payloadIds) builder.addList(list)
    // Report before the sink gets the frame: a sink may pass the progress on with the frame.
    const progress = { bytes: writer.bytes + frame.byteLength, records: writer.records + records }
    onProgress?.({ ...progress, totalBytes: await total?.at(progress, lastKey) })
    await writer.writeFrame(section, frame, records)
  }
  try {
    await writer.start()
    total = onProgress && (await TotalBytes.of(db, checkpoint))
    await scan(view, { writeFrame, checkpoint, allocate }, { ...options, spans: keySpans(sections, ownKeys) })
    const payloadIds = await builder.finish()
    return await undoOnError(async () => {
      if (counter !== undefined) checkCount(counter, payloadIds.size)
      await writer.finish({ count: payloadIds.size, digest: payloadIds.digest })
      return payloadIds
    }, () => payloadIds.close())
  } finally {
    counter?.close?.()
    await Promise.all([view.close(), builder.close()])
  }
}
