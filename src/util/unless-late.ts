/** Waits for work of others, which a signal should end but may not. */

/** The time in seconds for a store or a destination to end after its signal aborted. */
export const ABORT_GRACE_SECONDS = 5

/**
 * Does work, and waits for it. After an abort, only for 5 seconds more: then rejects with what `late` returns or resolves with, and the
 * work is left behind.
 */
export async function unlessLate<T>(work: () => Promise<T>, signal: AbortSignal | undefined, late: (working: Promise<T>) => unknown): Promise<T> {
  // What is not TypeScript may throw, or return what is not a promise.
  const working = (async () => await work())()
  if (signal === undefined) return await working
  return await new Promise((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined
    const leave = async (): Promise<void> => reject(await late(working))
    const onAbort = (): void => void (timer = setTimeout(() => void leave(), ABORT_GRACE_SECONDS * 1000))
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
    working.finally(end).then(resolve, reject)
  })
}
