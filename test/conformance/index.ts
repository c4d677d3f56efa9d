/** The conformance suites, for any test runner: what every store, destination, payload store and catalog must do. */
export * from './backupable.ts'
export * from './catalog.ts'
export * from './destination.ts'
export * from './metadata-store.ts'
export * from './payload-store.ts'
export * from './swappable.ts'
export type { TestRunner } from './runner.ts'
