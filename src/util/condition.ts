/** Waits for what others bring about. */

export class Condition {
  readonly #waits = new Set<() => void>()

  /**
   * Resolves when `holds` returns true: it is asked now and at each `changed`. `wait` may end a wait with an error. @default it does not
   */
  async until(holds: () => boolean, wait = (change: Promise<void>): Promise<void> => change): Promise<void> {
    while (!holds()) await wait(new Promise((resolve) => void this.#waits.add(resolve)))
  }

  /** Makes all waits ask again. */
  changed(): void {
    for (const ask of this.#waits) ask()
    this.#waits.clear()
  }
}
