/** The conformance suites, for any test runner: what every store and every destination must do. */
export * from './backupable.ts'
export * from './destination.ts'
export * from './metadata-store.ts'
export type { TestRunner } from './runner.ts'
