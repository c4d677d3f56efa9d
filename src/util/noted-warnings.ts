/** The warnings of something that is open for a while: what it has to do without, told once, and what its calls leave behind. */

export interface NotedWarning {
  readonly code: string
  readonly message: string
}

export class NotedWarnings {
  readonly #lacking = new Map<string, NotedWarning>()
  #untold: NotedWarning[] = []

  /** Notes something that cannot be done, once for each code. */
  lacks(warning: NotedWarning): void {
    if (this.#lacking.has(warning.code)) return
    this.#lacking.set(warning.code, warning)
    this.#untold.push(warning)
  }

  /** Notes what a call had to leave behind; once, until it is told, however many calls leave it. */
  leaves(warning: NotedWarning): void {
    if (this.#untold.some(({ message }) => message === warning.message)) return
    this.#untold.push(warning)
  }

  /** Everything that cannot be done, as far as noted. Counts as told. */
  tellLacking(): readonly NotedWarning[] {
    this.#untold = this.#untold.filter(({ code }) => !this.#lacking.has(code))
    return [...this.#lacking.values()]
  }

  /** The warnings that were not told yet. */
  take(): readonly NotedWarning[] {
    return this.#untold.splice(0)
  }
}
