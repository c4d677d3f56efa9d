/** Writes the records of a stream into an empty database, on the calling thread or in a worker. */
import type { RestoreOptions, SnapshotSource } from '../../../contracts/backupable.ts'
import { SchemaVersionMismatchError, StoreKindMismatchError } from '../../../errors/errors.ts'
import { frameFault, KeyOrder, nameOfKey } from '../../../format/record-order.ts'
import { type DataFrame, type FrameSource, type StoredRecord, decodeRecords, openSnapshot } from '../../../format/snapshot-reader.ts'
import { BatchRotation } from './fill-database.ts'
import { type KeySpan, type StoreDescription, SpanCursor, keySpans } from './key-spans.ts'
import type { WriteBatch } from './write-batches.ts'

export interface ReadSnapshotOptions extends StoreDescription, Pick<RestoreOptions, 'onProgress'> {
  /** Makes batches for the database to fill. */
  readonly newBatch: () => WriteBatch
  /** Called between frames: a chance to yield, or to end the restore by throwing. */
  readonly checkpoint: () => Promise<void> | void
}

/**
 * Writes all records of a stream in sorted batches, each while the next is decoded. Rejects as `sectionRecords` does. After a failure the
 * caller removes what was written.
 */
export async function readSnapshot(source: SnapshotSource, options: ReadSnapshotOptions): Promise<void> {
  const { sections, ownKeys, newBatch, checkpoint, onProgress } = options
  const reader = await openSnapshot(source)
  const batches = new BatchRotation(newBatch)
  let [records, bytes] = [0, 0]
  try {
    checkHeader(reader.header, options)
    for await (const [frame, found] of sectionRecords(reader, keySpans(sections, ownKeys))) {
      const batch = batches.spare()
      for (const [key, value] of found) batch.put(key, value)
      await batches.add(batch)
      records += frame.records
      bytes += frame.data.byteLength
      onProgress?.({ bytes, records })
      await checkpoint()
    }
    await batches.end()
  } finally {
    await Promise.all([batches.close(), reader.close()])
  }
}

/**
 * Reads the records of each frame: use them before the next. Rejects with `restore_corrupt` for a key outside its section, or not greater
 * than its predecessor.
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

/** Checks that a stream is of a kind, a schema version and sections that the store takes. */
export function checkHeader(
  header: FrameSource['header'],
  { storeKind, accepts, schemaVersion, sections }: Pick<StoreDescription, 'storeKind' | 'accepts' | 'schemaVersion' | 'sections'>,
): void {
  if (!accepts.includes(header.storeKind)) {
    throw new StoreKindMismatchError(`Cannot restore a snapshot of a "${header.storeKind}" store into a "${storeKind}" store`, {
      details: { expected: accepts, actual: header.storeKind },
    })
  }
  if (header.schemaVersion !== schemaVersion) {
    throw new SchemaVersionMismatchError(
      `Cannot restore a snapshot of schema version ${header.schemaVersion} into a store of schema version ${schemaVersion}`,
      { details: { expected: schemaVersion, actual: header.schemaVersion } },
    )
  }
  const names = sections.map(({ name }) => name)
  if (names.length !== header.sections.length || names.some((name, index) => name !== header.sections[index])) {
    throw new StoreKindMismatchError(`Cannot restore a snapshot with sections ${header.sections.join(', ')}: the store has ${names.join(', ')}`, {
      details: { expected: names, actual: header.sections },
    })
  }
}
