/** What the parts of the metadata store's conformance suite share. */
import { equal, rejects } from 'node:assert/strict'
import type { InodeNumber, MetadataStore } from '../../src/metadata/metadata-store.ts'

/** A store with one share, whose root is given too. */
export interface MetadataFixture {
  readonly store: MetadataStore
  readonly root: InodeNumber
}

/** Registers one test; after its body the store must still fit together. */
export type RegisterTest = (title: string, body: (fixture: MetadataFixture) => Promise<void>) => void

/** Resolves when the promise rejects with this code. */
export async function refused(promise: Promise<unknown>, code: string): Promise<void> {
  await rejects(promise, (error: Error & { code?: unknown }) => {
    equal(error.code, code, `${error.name}: ${error.message}`)
    return true
  })
}

/** Everything an iterable gives. */
export async function all<T>(source: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = []
  for await (const item of source) items.push(item)
  return items
}
