/** A progress line that redraws itself; on a terminal only. */
import type { Terminal } from './terminal.ts'
import { formatBytes, formatCount, formatRate } from '../util/text.ts'

export interface ProgressState {
  /** Replaces the first label. */
  readonly label?: string | undefined
  readonly bytes?: number | undefined
  /** Draws a bar where the total is known. */
  readonly totalBytes?: number | undefined
  /** A count and its noun, such as `records`. */
  readonly count?: number | undefined
  readonly noun?: string | undefined
}

export interface Progress {
  update(state: ProgressState): void
  /** Removes the line. Idempotent. */
  end(): void
}

const REDRAW_MS = 100
const BAR_WIDTH = 24
/** The width when the terminal does not report one. */
const DEFAULT_COLUMNS = 80
const CLEAR_LINE = '\r\u001b[K'

export const noProgress: Progress = { update: () => undefined, end: () => undefined }

/** A progress line labelled with what is being done. */
export function drawProgress(stderr: Terminal['stderr'], label: string): Progress {
  const startedMs = performance.now()
  let drawnMs = -Infinity
  let drawn = false
  return {
    update(state) {
      const nowMs = performance.now()
      if (nowMs - drawnMs < REDRAW_MS) return
      drawnMs = nowMs
      drawn = true
      const line = progressLine(label, state, nowMs - startedMs)
      stderr.write(`${CLEAR_LINE}${line.slice(0, (stderr.columns || DEFAULT_COLUMNS) - 1)}`)
    },
    end() {
      if (drawn) stderr.write(CLEAR_LINE)
      drawn = false
    },
  }
}

/** The text of the line: label, bar, bytes, counts, rate. */
export function progressLine(label: string, state: ProgressState, elapsedMs: number): string {
  const parts = [state.label ?? label]
  const { bytes, totalBytes, count, noun } = state
  if (bytes !== undefined && totalBytes !== undefined && totalBytes > 0) {
    const share = Math.min(1, bytes / totalBytes)
    const filled = Math.round(share * BAR_WIDTH)
    parts.push(`[${'#'.repeat(filled)}${'.'.repeat(BAR_WIDTH - filled)}]`, `${Math.floor(share * 100)} %`)
  }
  if (bytes !== undefined) parts.push(formatBytes(bytes))
  if (count !== undefined) parts.push(`${formatCount(count)} ${noun ?? ''}`.trimEnd())
  if (bytes !== undefined && elapsedMs >= 500) parts.push(formatRate(bytes, elapsedMs))
  return parts.join('  ')
}
