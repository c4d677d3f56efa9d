/** What holds the payload IDs of a snapshot against another source in the same snapshot. */
import { messageOf } from '../../../errors/error-message.ts'
import { RecordInvalidError, StoreInconsistentError } from '../../../errors/errors.ts'
import type { StoredRecord, TextColumns } from '../../../format/records.ts'
import { type Value, nameOfKey } from './key-spans.ts'

/**
 * Counts payload IDs by another way than they are gathered: by an index of references where they are gathered from the records, or the
 * other way round. One is made for each backup.
 */
export interface PayloadIdCounter {
  /** Called with every record, in key order, with what `payloadIds` is called with. What it throws fails the backup with `record_invalid`. */
  add(key: never, value: never, section: string): void
  /** How many different payload IDs there must be; called once, at the end. What it throws ends the backup. */
  count(): number
}

/** The same, for a frame of records at a time. */
export interface FrameCounter {
  add(frame: CountedFrame): void
  count(): number
}

export interface CountedFrame {
  /** The section that all records are of. */
  readonly name: string
  readonly records: readonly StoredRecord[]
  /** Of the frame; finds them when it is called. */
  readonly columns: () => TextColumns
}

/** Calls a counter of an embedder's with each record. */
export function recordCounter(counter: PayloadIdCounter): FrameCounter {
  const add = counter.add.bind(counter) as (key: Value, value: Value, section: string) => void
  return {
    add({ name, records }) {
      for (const [key, value] of records) {
        try {
          add(key, value, name)
        } catch (cause) {
          const message = messageOf(cause)
          throw new RecordInvalidError(`Cannot back up record ${JSON.stringify(nameOfKey(key))}: ${message}`, { cause, details: { key: nameOfKey(key) } })
        }
      }
    },
    count: () => counter.count(),
  }
}

/** Throws `store_inconsistent` when there are not as many payload IDs as were counted. */
export function checkCount(counter: FrameCounter, gathered: number): void {
  const counted = counter.count()
  if (counted === gathered) return
  throw new StoreInconsistentError(`Cannot trust what the store refers to: ${gathered} payload IDs were gathered, and ${counted} counted by another way`, {
    details: { expected: { count: counted }, actual: { count: gathered } },
  })
}
