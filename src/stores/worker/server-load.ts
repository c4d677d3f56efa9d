/** How busy the calling thread is, so that a worker thread can leave the machine to it when it needs it. */
import { performance } from 'node:perf_hooks'

/** Long enough for a rate, short enough to follow the server. */
const WINDOW_MS = 20

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
