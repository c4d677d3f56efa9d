/**
 * Makes a worker thread give way to the server: it runs at the lowest priority, and rests while the server is busy.
 * The rests are for memory and disk, which do not have priorities.
 */
import { readlinkSync } from 'node:fs'
import { constants, setPriority } from 'node:os'
import { performance } from 'node:perf_hooks'

/** Up to this load the worker does not rest: the load is the backup's own, or leaves enough room. */
const IDLE_LOAD = 0.3
/** The longest rest, in milliseconds for each millisecond of work. */
const MAX_REST = 2
/** Work between two rests, so that rests are not too short for a timer. */
const WORK_MS = 5

export class Pace {
  #load = 0
  #sinceMs: number

  constructor(nowMs: number) {
    this.#sinceMs = nowMs
  }

  /** The load of the server, 0 to 1. */
  set load(load: number) {
    this.#load = load
  }

  /** How long to rest now, in milliseconds: not at all beside an idle server, twice the time worked beside a fully busy one. */
  restMs(nowMs: number): number {
    const workedMs = nowMs - this.#sinceMs
    if (workedMs < WORK_MS) return 0
    const share = this.#load <= IDLE_LOAD ? 0 : Math.min(MAX_REST, this.#load / (1 - this.#load))
    const restMs = Math.round(workedMs * share)
    this.#sinceMs = nowMs + restMs
    return restMs
  }
}

/** The time that load is measured over: long enough for a rate, short enough to follow the server. */
const WINDOW_MS = 20

/** Measures how busy the calling thread is, which each credit tells the worker. */
export class ServerLoad {
  #from: ReturnType<typeof performance.eventLoopUtilization> = performance.eventLoopUtilization()
  #fromMs: number = performance.now()
  #utilization = 0

  /** The recent utilization of the thread's event loop, 0 to 1. */
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
 * Gives the calling thread the lowest scheduling priority, on systems with priorities per thread (Linux).
 * The thread then uses the processor time that the server leaves.
 */
export function lowerThreadPriority(): void {
  if (process.platform !== 'linux') return
  // The link is "<process>/task/<thread>"; Linux accepts a thread ID as a process ID.
  const threadId = Number(readlinkSync('/proc/thread-self').split('/').at(-1))
  setPriority(threadId, constants.priority.PRIORITY_LOW)
}
