/** Writes the records of a snapshot into an empty database. */
import type { RestoreOptions } from '../../../contracts/backupable.ts'
import { frameFault, KeyOrder, nameOfKey } from '../../../format/record-order.ts'
import { type DataFrame, type FrameSource, type StoredRecord, decodeRecords } from '../../../format/snapshot-reader.ts'
import { BatchRotation } from './fill-database.ts'
import { type KeySpan, SpanCursor } from './key-spans.ts'
import type { WriteBatch } from './write-batches.ts'

export interface ApplyOptions {
  readonly newBatch: () => WriteBatch
  readonly spans: readonly KeySpan[]
  /** Called between frames: a chance to yield, or to end by throwing. */
  readonly checkpoint: () => Promise<void> | void
  readonly onProgress?: RestoreOptions['onProgress']
}

/** Writes all records in sorted batches, each while the next is decoded. Rejects as `sectionRecords` does. The caller removes what was written. */
export async function applySnapshot(source: FrameSource, options: ApplyOptions): Promise<void> {
  const { spans, checkpoint, onProgress } = options
  const batches = new BatchRotation(options.newBatch)
  let written = 0
  let bytes = 0
  try {
    for await (const [frame, records] of sectionRecords(source, spans)) {
      const batch = batches.spare()
      for (const [key, value] of records) batch.put(key, value)
      await batches.add(batch)
      written += frame.records
      bytes += frame.data.byteLength
      onProgress?.({ bytes, records: written })
      await checkpoint()
    }
    await batches.end()
  } finally {
    await batches.close()
  }
}

/**
 * Reads the records of each frame: use them before the next. Rejects with `restore_corrupt` for a key outside its section, or not greater than its
 * predecessor.
 */
export async function* sectionRecords(
  source: FrameSource,
  spans: readonly KeySpan[],
): AsyncGenerator<readonly [frame: DataFrame, records: readonly StoredRecord[]], void, undefined> {
  const order = new KeyOrder()
  const cursor = new SpanCursor(spans)
  for await (const frame of source.frames()) {
    const records = decodeRecords(frame)
    for (const [key] of records) {
      order.check(key, frame)
      if (cursor.of(key).section !== frame.section) throw frameFault(frame, `key ${JSON.stringify(nameOfKey(key))} does not belong to its section`)
    }
    yield [frame, records]
  }
}
