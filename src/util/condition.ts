/** Waits until something is so that others bring about. */

export class Condition {
  readonly #waits = new Set<() => void>()

  /** Resolves when `holds` returns true. It is called now and at each `changed`; `wait` may end a wait with an error. */
  async until(holds: () => boolean, wait: (change: Promise<void>) => Promise<void>): Promise<void> {
    while (!holds()) await wait(new Promise((resolve) => void this.#waits.add(resolve)))
  }

  /** Has all waits look again. */
  changed(): void {
    for (const look of this.#waits) look()
    this.#waits.clear()
  }
}
