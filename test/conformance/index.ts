/** The conformance suites, for any test runner: what every store, every destination and every payload store must do. */
export * from './backupable.ts'
export * from './destination.ts'
export * from './metadata-store.ts'
export * from './payload-store.ts'
export type { TestRunner } from './runner.ts'
