/** The functions that a conformance suite needs of a test runner; vitest, node:test, jest and mocha have them. */
export interface TestRunner {
  describe(name: string, body: () => void): unknown
  readonly test: {
    (name: string, body: () => Promise<void>): unknown
    /** Shows a test as skipped. Where a runner has none, the title of the test says that it was skipped. */
    readonly skip?: ((name: string, body: () => Promise<void>) => unknown) | undefined
  }
}

/** Registers a test; shows it as skipped when what it tries is not supported. */
export function registerTest({ test }: TestRunner, name: string, body: () => Promise<void>, isSupported = true): void {
  if (isSupported) test(name, body)
  else if (test.skip === undefined) test(`${name} (skipped: not supported)`, async () => undefined)
  else test.skip(name, body)
}
