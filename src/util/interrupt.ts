/** One first reason to stop, which ends every wait that goes through it. */

export class Interrupt {
  #failure: { readonly error: unknown } | undefined
  readonly #waits = new Set<(error: unknown) => void>()

  /** Ends all waits, now and later, with this error. Only the first call counts. */
  fail(error: unknown): void {
    if (this.#failure !== undefined) return
    this.#failure = { error }
    for (const reject of this.#waits) reject(error)
    this.#waits.clear()
  }

  /** Fails with the signal's reason when it aborts. The returned function lets go of the signal. */
  follow(signal: AbortSignal | undefined): () => void {
    if (signal === undefined) return () => undefined
    const abort = (): void => this.fail(signal.reason)
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
    return () => signal.removeEventListener('abort', abort)
  }

  /** Throws the error when there is one. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure.error
  }

  /** Waits for a promise, but no longer than until the failure; nothing awaits the promise after that. */
  async race<T>(promise: Promise<T>): Promise<T> {
    if (this.#failure !== undefined) {
      promise.catch(() => undefined)
      throw this.#failure.error
    }
    // Not Promise.race: that would leave a reaction on a promise which lives as long as the backup, for every wait.
    return await new Promise<T>((resolve, reject) => {
      this.#waits.add(reject)
      const settle = (): void => void this.#waits.delete(reject)
      promise.finally(settle).then(resolve, reject)
    })
  }

  /** The items of a source until the failure; the source is closed in every case, but not waited for when it hangs. */
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
