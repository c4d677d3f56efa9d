/** Loaded by URL in the worker thread that scans a store, and therefore with few imports. */
import { payloadIdOfReference } from './keys.ts'
import type { FrameCounter } from '../engine/payload-id-counter.ts'
import { checkRecord } from './record-check.ts'
import { ReferenceCounter } from './reference-counter.ts'

/**
 * The payload IDs that one record of a metadata store adds to a backup's set. Every record is checked (`record_invalid`).
 * Only the reference index yields IDs: it has every ID that inodes, block lists and uploads refer to, in order.
 */
export function payloadIds(key: string, value: string): readonly string[] {
  checkRecord(key, value)
  return key.startsWith('references/') ? [payloadIdOfReference(key)] : NONE
}

/** Compares the reference index with the records that refer to payloads. */
export function countFrames(): FrameCounter {
  return new ReferenceCounter()
}

const NONE: readonly string[] = []
