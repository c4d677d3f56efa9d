/** The steps of a restore and of a rollback: their names, their progress, their times. */

/** In order; a rollback has the steps from `drain-writes` that do not fill an engine. */
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
  /** Bytes that the step has read: of the backup in `restore`, of the side engine in `check`; 0 in the others. */
  readonly bytes: number
  /** Bytes the step will read in all; 0 where it reads none. */
  readonly totalBytes: number
  readonly records: number
}

export interface StepTime<Step extends string = RestoreStep> {
  readonly step: Step
  readonly durationMs: number
}

/** Runs steps one after another, says so, and notes how long each took. */
export class StepRunner<Step extends string = RestoreStep> {
  readonly #onProgress: ((progress: StepProgress<Step>) => void) | undefined
  readonly #times: StepTime<Step>[] = []

  constructor(onProgress: ((progress: StepProgress<Step>) => void) | undefined) {
    this.#onProgress = onProgress
  }

  async run<T>(step: Step, task: (report: (progress: Omit<StepProgress<Step>, 'step'>) => void) => Promise<T>): Promise<T> {
    this.#tell(step)
    return await this.#timed(step, () => task((progress) => this.#onProgress?.({ step, ...progress })))
  }

  /** Runs a step that is taken even when `onProgress` throws. */
  async runAnyway(step: Step, task: () => Promise<void>): Promise<void> {
    try {
      this.#tell(step)
    } finally {
      await this.#timed(step, task)
    }
  }

  get times(): readonly StepTime<Step>[] {
    return [...this.#times]
  }

  /** Milliseconds that these steps took together. */
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
