/** One snapshot of a database, start to end; the same on the calling thread and in a worker. */
import type { SnapshotProgress, SnapshotSink } from '../../../contracts/backupable.ts'
import type { PayloadIdSet } from '../../../payload-ids/payload-id-set.ts'
import type { Allocate } from '../../../format/frame.ts'
import { type KeyRange, type Section, keySpans } from './key-spans.ts'
import { type FrameCounter, checkCount } from './payload-id-counter.ts'
import { type PayloadIdExtractor, type RecordEncoding, StoreView, scan } from './scan.ts'
import { StreamBuilder, type StreamOptions } from './stream-builder.ts'
import type { LevelDatabase } from './text-database.ts'

export interface WriteSnapshotOptions extends Omit<StreamOptions, 'sections'> {
  readonly sections: readonly Section[]
  readonly ownKeys: KeyRange | undefined
  readonly encoding: RecordEncoding
  readonly payloadIdsOf: PayloadIdExtractor
  /** Made for this snapshot. */
  readonly counter: FrameCounter | undefined
  /** Called between batches: a chance to yield, or to end the snapshot by throwing. */
  readonly checkpoint: () => Promise<void> | void
  readonly onProgress?: ((progress: SnapshotProgress) => void) | undefined
  /** Where the memory of frames comes from. @default fresh memory */
  readonly allocate?: Allocate | undefined
}

/** Writes the stream and resolves with the set of payload IDs, taken from the same view. The database must be open. */
export async function writeSnapshot(db: LevelDatabase, sink: SnapshotSink, options: WriteSnapshotOptions): Promise<PayloadIdSet> {
  const { sections, ownKeys, encoding, counter, checkpoint, allocate } = options
  // First of all, so that the snapshot is as near to the call as can be.
  const view = new StoreView(db, encoding)
  const builder = new StreamBuilder(sink, { ...options, sections: sections.map(({ name }) => name), createdAtMs: view.openedAtMs })
  try {
    await builder.start()
    await scan(view, { writeFrame: (frame) => builder.add(frame), checkpoint, allocate }, { ...options, spans: keySpans(sections, ownKeys) })
    return await builder.finish(({ size }) => counter && checkCount(counter, size))
  } finally {
    await Promise.all([view.close(), builder.close()])
  }
}
