/** The steps of a restore or a rollback: names, progress, times. */
import { listener, warnOfCallback } from '../util/listener.ts'

/** The steps in order. A rollback has those from `drain-writes` that do not fill an engine. */
export const RESTORE_STEPS = [
  'prepare',
  'drain-writes',
  'side-engine',
  'restore',
  'check',
  'seal',
  'drain',
  'journal',
  'swap',
  'check-live',
  'clear-journal',
  'resume',
] as const
export type RestoreStep = (typeof RESTORE_STEPS)[number]

export interface RestoreProgress extends StepProgress<RestoreStep> {}

export interface StepProgress<Step extends string> {
  readonly step: Step
  /** Bytes read by the step: of the backup in `restore`, of the side engine in `check`, 0 in others. */
  readonly bytes: number
  /** All bytes that the step will read, or 0. */
  readonly totalBytes: number
  readonly records: number
}

export interface StepTime<Step extends string = RestoreStep> {
  readonly step: Step
  readonly durationMs: number
}

/** Runs steps one after another, reports them, and measures their times. */
export class StepRunner<Step extends string = RestoreStep> {
  readonly #onProgress: ((progress: StepProgress<Step>) => void) | undefined
  readonly #times: StepTime<Step>[] = []

  constructor(onProgress: ((progress: StepProgress<Step>) => void) | undefined) {
    this.#onProgress = listener(onProgress)
  }

  async run<T>(step: Step, task: (report: (progress: Omit<StepProgress<Step>, 'step'>) => void) => Promise<T>): Promise<T> {
    this.#tell(step)
    return await this.#timed(step, () => task((progress) => this.#onProgress?.({ step, ...progress })))
  }

  /** Runs a step whatever `onProgress` throws: the outcome is decided by then, so only the process is warned. */
  async runAnyway(step: Step, task: () => Promise<void>): Promise<void> {
    try {
      this.#tell(step)
    } catch (error) {
      warnOfCallback(error)
    }
    await this.#timed(step, task)
  }

  get times(): readonly StepTime<Step>[] {
    return [...this.#times]
  }

  /** The total time of some steps, in milliseconds. */
  total(...steps: readonly Step[]): number {
    return this.#times.filter(({ step }) => steps.includes(step)).reduce((sum, { durationMs }) => sum + durationMs, 0)
  }

  #tell(step: Step): void {
    this.#onProgress?.({ step, bytes: 0, totalBytes: 0, records: 0 })
  }

  async #timed<T>(step: Step, task: () => Promise<T>): Promise<T> {
    const startedAt = performance.now()
    try {
      return await task()
    } finally {
      this.#times.push({ step, durationMs: performance.now() - startedAt })
    }
  }
}
