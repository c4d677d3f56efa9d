/** Ends all its waits with the first reason to stop. */

export class Interrupt {
  #failure: { readonly error: unknown } | undefined
  readonly #waits = new Set<(error: unknown) => void>()

  /** Ends all current and later waits with this error. Only the first call counts. */
  fail(error: unknown): void {
    if (this.#failure !== undefined) return
    this.#failure = { error }
    for (const reject of this.#waits) reject(error)
    this.#waits.clear()
  }

  /** Runs work whose waits end with the signal's reason when the signal aborts. */
  static async during<T>(signal: AbortSignal | undefined, run: (interrupt: Interrupt) => Promise<T>): Promise<T> {
    signal?.throwIfAborted()
    const interrupt = new Interrupt()
    const abort = (): void => interrupt.fail(signal?.reason)
    signal?.addEventListener('abort', abort, { once: true })
    try {
      return await run(interrupt)
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

  /** Throws the failure, if any. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure.error
  }

  /** Waits for a promise until the failure; after that, nothing awaits the promise. */
  async race<T>(promise: Promise<T>): Promise<T> {
    if (this.#failure !== undefined) {
      promise.catch(() => undefined)
      throw this.#failure.error
    }
    // Not Promise.race: each wait would leave a reaction on a promise that lives as long as the backup.
    return await new Promise<T>((resolve, reject) => {
      this.#waits.add(reject)
      const settle = (): void => void this.#waits.delete(reject)
      promise.finally(settle).then(resolve, reject)
    })
  }

  /** Yields the items of a source until the failure. Always closes the source, but does not wait for a source that hangs. */
  async *items<T>(source: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    const iterator = source[Symbol.asyncIterator]()
    let pending: Promise<IteratorResult<T>> | undefined
    try {
      for (;;) {
        this.check()
        pending = iterator.next()
        const { value, done } = await this.race(pending)
        pending = undefined
        if (done === true) return
        yield value
      }
    } finally {
      const closed = Promise.resolve(iterator.return?.())
      if (pending === undefined) await closed
      else closed.catch(() => undefined)
    }
  }
}
