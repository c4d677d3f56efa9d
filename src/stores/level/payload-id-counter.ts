/** What holds the payload IDs of a snapshot against another source in the same snapshot. */
import { StoreInconsistentError } from '../../errors.ts'

/**
 * Counts payload IDs by another way than they are gathered: from an index of references where they are gathered from the records, or the
 * other way round. One is made for each backup.
 */
export interface PayloadIdCounter {
  /** Called with every record that payload IDs are asked of, in key order. What it throws fails the backup with `record_invalid`. */
  add(key: never, value: never, section: string): void
  /** How many different payload IDs there must be; called once, at the end. What it throws ends the backup. */
  count(): number
}

/** Throws `store_inconsistent` when there are not as many payload IDs as were counted. */
export function checkCount(counter: PayloadIdCounter, gathered: number): void {
  const counted = counter.count()
  if (counted === gathered) return
  throw new StoreInconsistentError(`Cannot trust what the store refers to: ${gathered} payload IDs were gathered, and ${counted} counted by another way`, {
    details: { expected: { count: counted }, actual: { count: gathered } },
  })
}
