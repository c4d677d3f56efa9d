/** Small things that the tests of `levelBackupable` share. */
import { expect, onTestFinished } from 'vitest'
import type { SnapshotSink } from '../../../src/contracts/backupable.ts'
import { type ByteLevel, type TestEngine, openDatabase } from './backupable-stores.ts'

/** Takes everything and keeps nothing. */
export const NO_SINK: SnapshotSink = { write: async () => undefined, finish: async () => undefined }

/** A database that goes when the test does. */
export async function openForTest(engine: TestEngine): Promise<ByteLevel> {
  const { db, cleanup } = await openDatabase(engine)
  onTestFinished(cleanup)
  return db
}

/** What a promise rejects with; fails the test when it does not. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => expect.fail('It did not reject'),
    (error: unknown) => error,
  )
}
