/** The two functions a conformance suite needs of a test runner; vitest, node:test, jest and mocha have them. */
export interface TestRunner {
  describe(name: string, body: () => void): unknown
  test(name: string, body: () => Promise<void>): unknown
}
