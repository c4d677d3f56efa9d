/** Writes the records of a snapshot into an empty database. */
import type { RestoreOptions } from '../../../contracts/backupable.ts'
import { RestoreCorruptError } from '../../../errors/errors.ts'
import { type DataFrame, type SnapshotReader, decodeRecords } from '../../../format/snapshot-reader.ts'
import { BatchRotation } from './fill-database.ts'
import { type KeySpan, type Value, SpanCursor, compareKeys, nameOfKey } from './key-spans.ts'
import type { WriteBatch } from './write-batches.ts'

export interface ApplyOptions {
  readonly newBatch: () => WriteBatch
  readonly spans: readonly KeySpan[]
  /** Called between frames: a chance to yield, or to end by throwing. */
  readonly checkpoint: () => Promise<void> | void
  readonly onProgress?: RestoreOptions['onProgress']
}

/**
 * Writes all records in sorted batches, each while the next is decoded.
 * Rejects with `restore_corrupt` for a key outside its section, or not greater than its predecessor. The caller removes what was written.
 */
export async function applySnapshot(reader: SnapshotReader, options: ApplyOptions): Promise<void> {
  const { spans, checkpoint, onProgress } = options
  const checker = new KeyChecker(spans)
  const batches = new BatchRotation(options.newBatch)
  let records = 0
  let bytes = 0
  try {
    for await (const frame of reader.frames()) {
      const batch = batches.spare()
      for (const [key, value] of decodeRecords(frame)) {
        checker.check(key, frame)
        batch.put(key, value)
      }
      await batches.add(batch)
      records += frame.records
      bytes += frame.data.byteLength
      onProgress?.({ bytes, records })
      await checkpoint()
    }
    await batches.end()
  } finally {
    await batches.close()
  }
}

/** Checks that keys come in strictly ascending order, each in the section of its frame. */
class KeyChecker {
  readonly #cursor: SpanCursor
  #last: Value | undefined

  constructor(spans: readonly KeySpan[]) {
    this.#cursor = new SpanCursor(spans)
  }

  check(key: Value, frame: DataFrame): void {
    if (this.#last !== undefined && compareKeys(this.#last, key) >= 0) {
      throw corrupt(frame, `key ${JSON.stringify(nameOfKey(key))} is not greater than the key before`)
    }
    if (this.#cursor.of(key).section !== frame.section) {
      throw corrupt(frame, `key ${JSON.stringify(nameOfKey(key))} does not belong to its section`)
    }
    this.#last = key
  }
}

function corrupt(frame: DataFrame, fault: string): RestoreCorruptError {
  return new RestoreCorruptError(`Cannot restore frame ${frame.sequence}: ${fault}`, { offset: frame.offset, frame: frame.sequence })
}
