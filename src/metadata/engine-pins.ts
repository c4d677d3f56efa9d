/** Which engines are still read by a backup, a view or a sweep, so that none is closed under it. */
import { StoreNotDrainedError } from '../errors/errors.ts'

export class EnginePins {
  readonly #close: (engine: string) => Promise<void>
  readonly #held = new Map<string, number>()
  /** Engines to be closed with their last pin. */
  readonly #retired = new Set<string>()

  constructor(close: (engine: string) => Promise<void>) {
    this.#close = close
  }

  /** Keeps an engine open while a task reads it. */
  async hold<T>(engine: string, task: () => Promise<T>): Promise<T> {
    const release = this.pin(engine)
    try {
      return await task()
    } finally {
      await release()
    }
  }

  /** Keeps an engine open until what it returns is called, once. */
  pin(engine: string): () => Promise<void> {
    this.#held.set(engine, this.#count(engine) + 1)
    return async () => {
      this.#held.set(engine, this.#count(engine) - 1)
      if (this.#retired.has(engine)) await this.#closeUnheld(engine)
    }
  }

  /** Closes an engine that serves no longer: now, or with the last task that reads it. */
  async retire(engine: string): Promise<void> {
    this.#retired.add(engine)
    await this.#closeUnheld(engine)
  }

  /** The engine serves again. */
  revive(engine: string): void {
    this.#retired.delete(engine)
  }

  /** Closes an engine; `store_not_drained` when a task still reads it. */
  async release(engine: string): Promise<void> {
    if (this.#count(engine) > 0) throw new StoreNotDrainedError(`Cannot remove engine "${engine}": a backup, a view or a sweep still reads it`)
    await this.retire(engine)
  }

  #count(engine: string): number {
    return this.#held.get(engine) ?? 0
  }

  async #closeUnheld(engine: string): Promise<void> {
    if (this.#count(engine) > 0) return
    this.#held.delete(engine)
    this.#retired.delete(engine)
    await this.#close(engine)
  }
}
