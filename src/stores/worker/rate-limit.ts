/** Limits the rate of a sink, and stops waiting for the sink when the backup has to end. */
import { setTimeout as delay } from 'node:timers/promises'
import type { SnapshotSink } from '../../contracts/backupable.ts'
import type { Interrupt } from '../../util/interrupt.ts'

export interface ThrottleOptions {
  readonly interrupt: Interrupt
  /** @default unlimited */
  readonly maxBytesPerSecond?: number | undefined
}

/** Wraps a sink. Throws `RangeError` for a rate that is not greater than 0. */
export function throttle(sink: SnapshotSink, { interrupt, maxBytesPerSecond = Infinity }: ThrottleOptions): SnapshotSink {
  if (!(maxBytesPerSecond > 0)) throw new RangeError(`maxBytesPerSecond must be greater than 0, got ${maxBytesPerSecond}`)
  let nextAtMs = 0
  return {
    async write(chunk) {
      const waitMs = nextAtMs - performance.now()
      if (waitMs > 0) {
        const timer = new AbortController()
        try {
          await interrupt.race(delay(waitMs, undefined, { signal: timer.signal }))
        } finally {
          timer.abort()
        }
      }
      nextAtMs = Math.max(nextAtMs, performance.now()) + (chunk.byteLength * 1000) / maxBytesPerSecond
      await interrupt.race(sink.write(chunk))
    },
    finish: (summary) => interrupt.race(sink.finish(summary)),
    returnsChunks: sink.returnsChunks,
  }
}
