/** One step at a time, in an order that a seed chooses: every call of a fake is a step, and so is every answer. */
import { setImmediate } from 'node:timers/promises'
import { type Deferred, deferred } from '../support/deferred.ts'
import { randomFrom } from '../support/seed.ts'

/** Work that can die: from then on nothing of it goes on, but what it sent may still arrive. */
export interface Process {
  readonly pid: number
  isDead: boolean
  /** How many more steps it takes before it dies; `undefined` for one that does not. */
  stepsLeft: number | undefined
  readonly death: Deferred
  /** Whether it dies when it has sent what publishes its backup. */
  readonly diesAtPublish: boolean
  /** How likely its turn is, beside that of others, once it has taken some steps: many are slow somewhere. */
  readonly pace: number
  readonly slowFrom: number
  stepsTaken: number
}

interface Task {
  readonly process: Process
  readonly run: () => void
  /** Whether it was sent, and changes something where it arrives. */
  readonly isRequest: boolean
  /** Of a dead process: until when it may arrive. */
  until?: number
}

/** How long what a dead process sent may be under way. */
export const LATE_MS = 900
const LATE_PACE = 0.03

const PACES = [1, 1, 0.2, 0.04] as const
const MOST_QUICK_STEPS = 40
/** How often another task may be looked for. */
const MOST_LOOKS = 30

export class Scheduler {
  /** Steady time: a step takes a millisecond. */
  nowMs = 0
  readonly random: () => number
  /** Steps so far. */
  steps = 0
  #tasks: Task[] = []
  #pids = 0
  readonly #maxSteps: number

  constructor(seed: number, maxSteps = 20_000) {
    this.random = randomFrom(seed)
    this.#maxSteps = maxSteps
  }

  newProcess({ stepsLeft, pace, diesAtPublish = false }: { readonly stepsLeft?: number | undefined; readonly pace?: number | undefined; readonly diesAtPublish?: boolean } = {}): Process {
    return { pid: ++this.#pids, isDead: false, stepsLeft, death: deferred(), diesAtPublish, pace: pace ?? PACES[this.below(PACES.length)] ?? 1, slowFrom: this.below(this.random() < 0.5 ? 3 : MOST_QUICK_STEPS), stepsTaken: 0 }
  }

  below(count: number): number {
    return Math.floor(this.random() * count)
  }

  /** A call: `effect` happens at once when it arrives; the answer comes later. A dead process never gets it. */
  call<T>(process: Process, effect: () => T, { isRequest = false }: { readonly isRequest?: boolean } = {}): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (process.isDead) return
      this.#tasks.push({
        process,
        isRequest,
        run: () => {
          let answer: () => void
          try {
            const value = effect()
            answer = () => resolve(value)
          } catch (error) {
            answer = () => reject(error)
          }
          // What changes nothing is answered in the same step: there is nothing between that another could see.
          if (isRequest) this.#tasks.push({ process, run: answer, isRequest: false })
          else if (!process.isDead) answer()
        },
      })
    })
  }

  /** Lets time pass; what was sent by the dead arrives before its time is over, or never. */
  async pass(ms: number): Promise<void> {
    this.nowMs += ms
    for (const late of this.#tasks.filter(({ until }) => until !== undefined && until <= this.nowMs)) {
      this.#tasks = this.#tasks.filter((task) => task !== late)
      if (this.random() < 0.5) late.run()
    }
  }

  kill(process: Process): void {
    process.isDead = true
    const kept: Task[] = []
    for (const task of this.#tasks) {
      if (task.process !== process) kept.push(task)
      else if (task.isRequest) kept.push({ ...task, until: this.nowMs + LATE_MS })
    }
    this.#tasks = kept
    process.death.resolve()
  }

  #next(): Task | undefined {
    let at = this.below(this.#tasks.length)
    for (let looks = 0; looks < MOST_LOOKS && this.random() > paceOf(this.#tasks[at]); looks++) at = this.below(this.#tasks.length)
    return this.#tasks.splice(at, 1)[0]
  }

  /** Runs until nothing is left to do. */
  async run(): Promise<void> {
    for (;;) {
      await setImmediate()
      const task = this.#next()
      if (task === undefined) return
      if (++this.steps > this.#maxSteps) throw new Error(`It does not end within ${this.#maxSteps} steps`)
      await this.pass(1)
      const { process } = task
      process.stepsTaken += 1
      if (process.stepsLeft !== undefined && !process.isDead && process.stepsLeft-- <= 0) {
        this.#tasks.push(task)
        this.kill(process)
        continue
      }
      if (!process.isDead || task.isRequest) task.run()
    }
  }
}

function paceOf(task: Task | undefined): number {
  if (task === undefined) return 1
  const { pace, slowFrom, stepsTaken } = task.process
  return task.until === undefined ? (stepsTaken < slowFrom ? 1 : pace) : LATE_PACE
}
