/** Runs work in parallel, with a limit. */

/**
 * Calls `work` for every item, at most `limit` at a time. After the first failure nothing new
 * starts; when all running work has ended, the promise rejects with that failure.
 */
export async function forEachLimited<T>(items: Iterable<T>, limit: number, work: (item: T) => Promise<void>): Promise<void> {
  const iterator = items[Symbol.iterator]()
  const failures: unknown[] = []
  const worker = async (): Promise<void> => {
    while (failures.length === 0) {
      const next = iterator.next()
      if (next.done === true) return
      try {
        await work(next.value)
      } catch (error) {
        failures.push(error)
      }
    }
  }
  await Promise.all(Array.from({ length: limit }, worker))
  if (failures.length > 0) throw failures[0]
}

/**
 * Calls `work` for `first` and for all items that it adds, at most `limit` at a time, last added first: a tree is walked depth first, so
 * that few items wait. Failures are treated as in `forEachLimited`.
 */
export async function drainStack<T>(first: T, limit: number, work: (item: T, add: (item: T) => void) => Promise<void>): Promise<void> {
  const waiting = [first]
  const failures: unknown[] = []
  let running = 0
  await new Promise<void>((resolve) => {
    const startMore = (): void => {
      while (running < limit && waiting.length > 0 && failures.length === 0) {
        running += 1
        void work(waiting.pop() as T, (item) => waiting.push(item))
          .catch((error: unknown) => failures.push(error))
          .finally(() => {
            running -= 1
            startMore()
          })
      }
      if (running === 0) resolve()
    }
    startMore()
  })
  if (failures.length > 0) throw failures[0]
}

/**
 * Calls `work` for every item, at most `limit` at a time, and gives the results in the order of the items. If it ends early, by a failure
 * or by its caller, it first waits for all running work.
 */
export async function* mapInOrder<T, R>(
  items: AsyncIterable<T> | Iterable<T>,
  limit: number,
  work: (item: T) => Promise<R>,
): AsyncGenerator<R, void, undefined> {
  const running: Promise<R>[] = []
  try {
    for await (const item of items) {
      const result = work(item)
      // A failure is thrown in its turn; until then it must not count as unhandled.
      result.catch(() => undefined)
      running.push(result)
      if (running.length >= limit) yield await (running.shift() as Promise<R>)
    }
    while (running.length > 0) yield await (running.shift() as Promise<R>)
  } finally {
    await Promise.allSettled(running)
  }
}
