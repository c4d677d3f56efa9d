/** How a worker thread gives way to the server: it runs at the lowest priority, and rests while the server is busy, as memory and disk have no priorities. */
import { readlinkSync } from 'node:fs'
import { constants, setPriority } from 'node:os'
import { performance } from 'node:perf_hooks'

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

/** Long enough for a rate, short enough to follow the server. */
const WINDOW_MS = 20

/** How busy the calling thread is, measured there and told to the worker with each credit. */
export class ServerLoad {
  #from: ReturnType<typeof performance.eventLoopUtilization> = performance.eventLoopUtilization()
  #fromMs: number = performance.now()
  #utilization = 0

  /** The share of the last moments that the thread's event loop was at work, 0 to 1. */
  measure(): number {
    const nowMs = performance.now()
    if (nowMs < this.#fromMs + WINDOW_MS) return this.#utilization
    const now = performance.eventLoopUtilization()
    this.#utilization = performance.eventLoopUtilization(now, this.#from).utilization
    this.#from = now
    this.#fromMs = nowMs
    return this.#utilization
  }
}

/**
 * Gives the calling thread the lowest scheduling priority where the system has one per thread (Linux). It then runs on what
 * processor time the server leaves, and as fast as ever when the server leaves it all.
 */
export function lowerThreadPriority(): void {
  if (process.platform !== 'linux') return
  // "<process>/task/<thread>"; Linux takes the ID of a thread for that of a process.
  const threadId = Number(readlinkSync('/proc/thread-self').split('/').at(-1))
  setPriority(threadId, constants.priority.PRIORITY_LOW)
}
