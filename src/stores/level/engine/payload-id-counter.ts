/** Checks the number of payload IDs of a snapshot against an independent count from the same snapshot. */
import { messageOf } from '../../../errors/error-message.ts'
import { type Kind, checkArgument, has } from '../../../util/check-options.ts'
import { RecordInvalidError, StoreInconsistentError } from '../../../errors/errors.ts'
import { nameOfKey } from '../../../format/record-order.ts'
import type { StoredRecord, TextColumns, Value } from '../../../format/records.ts'

/**
 * Counts payload IDs independently: from an index of references if they are gathered from the records, or the other way round.
 * Each backup has its own counter.
 */
export interface PayloadIdCounter<Key extends Value = never, Stored extends Value = never> {
  /** Called with every record, in key order, with the arguments of `payloadIds`. An error fails the backup with `record_invalid`. */
  readonly add: (key: Key, value: Stored, section: string) => void
  /** Called once, at the end: the number of distinct payload IDs that there must be. An error fails the backup. */
  count(): number
}

const COUNTER: Kind = has<PayloadIdCounter>('a counter with add() and count()', 'add', 'count')

/** A counter that gets a frame of records at once. */
export interface FrameCounter {
  add(frame: CountedFrame): void | Promise<void>
  count(): number
  /** Frees what the counter holds. Idempotent. @default nothing to free */
  close?(): void
}

export interface FrameCounterOptions {
  /** Where a counter keeps what outgrows memory. @default the system's temporary directory */
  readonly spillDirectory?: string | undefined
}

export interface CountedFrame {
  /** The section of all records. */
  readonly name: string
  readonly records: readonly StoredRecord[]
  /** Finds the columns of the frame when called. */
  readonly columns: () => TextColumns
  /** Reads other records of the same view, as text; of a stream the types of inodes that came before, by ascending keys. */
  readonly lookup: (keys: readonly string[]) => Promise<readonly (string | undefined)[]>
}

/** Wraps a counter of an embedder, which gets one record at once. */
export function recordCounter(counter: PayloadIdCounter): FrameCounter {
  checkArgument('levelBackupable', counter, { name: 'countPayloadIds()', kind: COUNTER })
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

/** Throws `store_inconsistent` when the number of payload IDs is not the counted one. */
export function checkCount(counter: FrameCounter, gathered: number): void {
  const counted = counter.count()
  if (counted === gathered) return
  throw new StoreInconsistentError(`Payload reference check failed: found ${gathered} payload IDs, expected ${counted}`, {
    details: { expected: { count: counted }, actual: { count: gathered } },
  })
}
