/** How long a worker thread rests, so that a busy server keeps its pace: memory and disk have no priorities as processors do. */

/** A load that is the backup's own, or leaves room enough. */
const IDLE_LOAD = 0.3
/** The most that a thread rests for each millisecond that it worked. */
const MAX_REST = 2
/** Work between two rests: no rest is too short for a timer. */
const WORK_MS = 5

export class Pace {
  #load = 0
  #sinceMs: number

  constructor(nowMs: number) {
    this.#sinceMs = nowMs
  }

  /** What the server says of itself, 0 to 1. */
  set load(load: number) {
    this.#load = load
  }

  /** How long to rest now, in milliseconds: nothing beside an idle server, twice the time that was worked beside one that has no time left. */
  restMs(nowMs: number): number {
    const workedMs = nowMs - this.#sinceMs
    if (workedMs < WORK_MS) return 0
    const share = this.#load <= IDLE_LOAD ? 0 : Math.min(MAX_REST, this.#load / (1 - this.#load))
    const restMs = Math.round(workedMs * share)
    this.#sinceMs = nowMs + restMs
    return restMs
  }
}
