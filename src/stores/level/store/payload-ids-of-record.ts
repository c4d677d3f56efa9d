/** Loaded by URL in the worker thread that scans a store, and therefore with few imports. */
import { payloadIdOfReference } from './keys.ts'
import type { FrameCounter, FrameCounterOptions } from '../engine/payload-id-counter.ts'
import { checkRecord } from './record-check.ts'
import { ReferenceCounter } from './reference-counter.ts'
import { TreeChecker } from './tree-checker.ts'

/**
 * The payload IDs that one record of a metadata store adds to a backup's set. Every record is checked (`record_invalid`).
 * Only the reference index yields IDs: it has every ID that inodes, block lists and uploads refer to, in order.
 */
export function payloadIds(key: string, value: string): readonly string[] {
  checkRecord(key, value)
  return key.startsWith('references/') ? [payloadIdOfReference(key)] : NONE
}

/** Compares the reference index with the records that refer to payloads, and checks that all records fit together. */
export function countFrames(options: FrameCounterOptions): FrameCounter {
  const tree = new TreeChecker(options)
  const references = new ReferenceCounter((key, blocks) => tree.addChunk(key, blocks))
  return {
    async add(frame) {
      references.add(frame)
      await tree.add(frame)
    },
    count() {
      const count = references.count()
      tree.finish()
      return count
    },
    close: () => tree.close(),
  }
}

const NONE: readonly string[] = []
