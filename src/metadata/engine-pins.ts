/** Keeps engines open while a backup, a view or a sweep reads them. */
import { afterwards } from '../errors/clean-up.ts'
import { StoreNotDrainedError } from '../errors/errors.ts'

export class EnginePins {
  readonly #close: (engine: string) => Promise<void>
  readonly #held = new Map<string, number>()
  /** Engines to close with their last pin. */
  readonly #retired = new Set<string>()

  constructor(close: (engine: string) => Promise<void>) {
    this.#close = close
  }

  /** Keeps an engine open while a task reads it. */
  async hold<T>(engine: string, task: () => Promise<T>): Promise<T> {
    return await afterwards(task, this.pin(engine))
  }

  /** Keeps an engine open until the returned function is called, once. */
  pin(engine: string): () => Promise<void> {
    this.#held.set(engine, this.#count(engine) + 1)
    return async () => {
      this.#held.set(engine, this.#count(engine) - 1)
      if (this.#retired.has(engine)) await this.#closeUnheld(engine)
    }
  }

  /** Closes an engine that does not serve any more: now, or after the last task that reads it. */
  async retire(engine: string): Promise<void> {
    this.#retired.add(engine)
    await this.#closeUnheld(engine)
  }

  /** Takes back `retire`: the engine serves again. */
  revive(engine: string): void {
    this.#retired.delete(engine)
  }

  /** Closes an engine. Rejects with `store_not_drained` when a task still reads it. */
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
