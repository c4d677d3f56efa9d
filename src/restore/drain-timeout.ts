/** How long operations in flight may take to end. */
import { checkWaitMs } from '../util/check-number.ts'

const DEFAULT_MS = 30_000

/** Throws `RangeError` unless it is from 0 to a day. */
export function drainTimeoutOf({ drainTimeoutMs = DEFAULT_MS }: { readonly drainTimeoutMs?: number | undefined }): number {
  return checkWaitMs('drainTimeoutMs', drainTimeoutMs)
}
