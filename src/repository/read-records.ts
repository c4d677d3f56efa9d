/** Looking into a stored backup without restoring it. */
import type { Destination } from '../contracts/destination.ts'
import { RestoreCorruptError } from '../errors/errors.ts'
import { decodeRecords, openSnapshot, type StoredRecord } from '../format/snapshot-reader.ts'

export interface ReadRecordsOptions {
  readonly destination: Destination
  readonly backupId: string
  /** Ends the reading; the iteration rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

/** Records of one section, in key order. */
export interface RecordBatch {
  readonly section: string
  /** How many they are. */
  readonly count: number
  /** Decodes them; to be called before the next batch is asked for. Throws `restore_corrupt` for a store's own form. */
  records(): readonly StoredRecord[]
}

/**
 * The records of a key-value store's backup, a frame at a time: memory does not grow with the backup. Each frame is checked before it is
 * given; that the backup is whole is known when the iteration has ended.
 *
 * Rejects with `manifest_missing`, `backup_incomplete`, `restore_corrupt`, and what the destination rejects with.
 */
export async function* readRecords({ destination, backupId, signal }: ReadRecordsOptions): AsyncGenerator<RecordBatch, void, undefined> {
  try {
    const reader = await openSnapshot(destination.open(backupId, 'payload', { signal }), { signal })
    try {
      for await (const frame of reader.frames()) {
        yield { section: reader.header.sections[frame.section] ?? '', count: frame.records, records: () => decodeRecords(frame) }
      }
    } finally {
      await reader.close()
    }
  } catch (error) {
    if (!(error instanceof RestoreCorruptError)) throw error
    const { offset, frame } = error
    throw new RestoreCorruptError(`Cannot read backup ${backupId}: ${error.message}`, { cause: error, offset, frame, hint: 'Do not trust this backup; run "holdfast verify" to see what is damaged' })
  }
}
