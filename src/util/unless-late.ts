/** Waits for work of others, which a signal should end but may not. */

/** The time in seconds for a store or a destination to end after its signal aborted. */
export const ABORT_GRACE_SECONDS = 5

export interface UnlessLateOptions<T> {
  readonly signal: AbortSignal | undefined
  /** What to reject with, or a promise of it. */
  readonly late: (working: Promise<T>) => unknown
  /** How long to wait after the abort, or from now on where that was before. @default 5 */
  readonly graceSeconds?: number | undefined
}

/** Does work, and waits for it; after an abort, only for a grace time: then the work is left behind. */
export async function unlessLate<T>(work: () => Promise<T>, { signal, late, graceSeconds = ABORT_GRACE_SECONDS }: UnlessLateOptions<T>): Promise<T> {
  // What is not TypeScript may throw, or return what is not a promise.
  const working = (async () => await work())()
  if (signal === undefined) return await working
  return await new Promise((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined
    const leave = async (): Promise<void> => reject(await late(working))
    const onAbort = (): void => void (timer = setTimeout(() => void leave(), graceSeconds * 1000))
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
    working.finally(end).then(resolve, reject)
  })
}
