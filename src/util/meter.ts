/** Measures the progress of work in phases, and reports it at a limited rate. */
import { listener } from './listener.ts'

export interface Measured {
  /** Bytes of the phase so far. */
  readonly bytes: number
  /** About how many bytes the phase has in all, never fewer than so far; 0 if not known. */
  readonly totalBytes: number
  readonly records: number
  /** The average since the phase began. */
  readonly bytesPerSecond: number
}

export interface PhaseTime<Phase extends string> {
  readonly phase: Phase
  readonly durationMs: number
  readonly bytes: number
}

/** The shortest time between two reports. */
const INTERVAL_MS = 50

/** Reports the begin and the end of each phase, and in between at most 20 times a second. */
export class Meter<Phase extends string> {
  readonly #report: (phase: Phase, measured: Measured) => void
  readonly #times: PhaseTime<Phase>[] = []
  #phase: Phase | undefined
  #totalBytes = 0
  #bytes = 0
  #records = 0
  #beganMs = 0
  #reportedMs = 0

  constructor(report: (phase: Phase, measured: Measured) => void) {
    this.#report = listener(report)
  }

  /** The current phase. */
  get phase(): Phase | undefined {
    return this.#phase
  }

  /** Phases that have ended. */
  get times(): readonly PhaseTime<Phase>[] {
    return [...this.#times]
  }

  /** Ends the current phase and begins another. */
  begin(phase: Phase, totalBytes = 0): void {
    this.end()
    this.#phase = phase
    this.#totalBytes = totalBytes
    this.#bytes = 0
    this.#records = 0
    this.#beganMs = performance.now()
    this.#tell()
  }

  update({ bytes = this.#bytes, records = this.#records, totalBytes = this.#totalBytes }: { readonly [Name in 'bytes' | 'records' | 'totalBytes']?: number | undefined }): void {
    this.#bytes = bytes
    this.#records = records
    this.#totalBytes = totalBytes === 0 ? 0 : Math.max(totalBytes, bytes)
    if (performance.now() - this.#reportedMs >= INTERVAL_MS) this.#tell()
  }

  /** Ends the current phase. Idempotent. */
  end(): void {
    if (this.#phase === undefined) return
    try {
      this.#tell()
    } finally {
      this.#times.push({ phase: this.#phase, durationMs: performance.now() - this.#beganMs, bytes: this.#bytes })
      this.#phase = undefined
    }
  }

  #tell(): void {
    if (this.#phase === undefined) return
    this.#reportedMs = performance.now()
    const elapsedMs = this.#reportedMs - this.#beganMs
    const bytesPerSecond = elapsedMs > 0 ? (this.#bytes * 1000) / elapsedMs : 0
    this.#report(this.#phase, { bytes: this.#bytes, totalBytes: this.#totalBytes, records: this.#records, bytesPerSecond })
  }
}
