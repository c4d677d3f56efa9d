/** One snapshot of a database, start to end; the same on the calling thread and in a worker. */
import type { SnapshotProgress, SnapshotSink, StoreKind } from '../../backupable.ts'
import { type PayloadIdSet, PayloadIdSetBuilder, checkPayloadId } from '../../payload-ids.ts'
import { SnapshotWriter } from '../../snapshot/snapshot-writer.ts'
import { type KeyRange, type Section, keySpans } from './key-spans.ts'
import { type PayloadIdExtractor, type RecordEncoding, StoreView, scan } from './scan.ts'
import type { LevelDatabase } from './text-database.ts'

export interface WriteSnapshotOptions {
  readonly sections: readonly Section[]
  readonly ownKeys: KeyRange | undefined
  readonly encoding: RecordEncoding
  readonly payloadIdsOf: PayloadIdExtractor
  readonly storeKind: StoreKind
  readonly storeId: string
  readonly schemaVersion: number
  readonly spillDirectory: string | undefined
  /** Called between batches: a chance to yield, or to end the snapshot by throwing. */
  readonly checkpoint: () => Promise<void> | void
  readonly onProgress?: ((progress: SnapshotProgress) => void) | undefined
}

/** Writes the stream and resolves with the set of payload IDs, taken from the same view. The database must be open. */
export async function writeSnapshot(db: LevelDatabase, sink: SnapshotSink, options: WriteSnapshotOptions): Promise<PayloadIdSet> {
  const { sections, ownKeys, checkpoint, onProgress } = options
  // First of all, so that the snapshot is as near to the call as can be.
  const view = new StoreView(db, options.encoding)
  const builder = new PayloadIdSetBuilder({ spillDirectory: options.spillDirectory })
  try {
    const writer = new SnapshotWriter(sink, {
      storeKind: options.storeKind,
      storeId: options.storeId,
      schemaVersion: options.schemaVersion,
      sections: sections.map(({ name }) => name),
      createdAtMs: view.openedAtMs,
    })
    await writer.start()
    const target = {
      async writeRecords(section: number, records: Parameters<SnapshotWriter['writeRecords']>[1]): Promise<void> {
        await writer.writeRecords(section, records)
        onProgress?.({ bytes: writer.bytes, records: writer.records })
      },
      addPayloadId: (payloadId: string): void => builder.add(checkPayloadId(payloadId)),
      checkpoint,
    }
    await scan(view, target, { ...options, spans: keySpans(sections, ownKeys) })
    const payloadIds = await builder.finish()
    try {
      await writer.finish({ count: payloadIds.size, digest: payloadIds.digest })
    } catch (error) {
      await payloadIds.close()
      throw error
    }
    return payloadIds
  } finally {
    await Promise.all([view.close(), builder.close()])
  }
}
