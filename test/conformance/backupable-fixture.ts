/** What the parts of the conformance suite of `Backupable` share: a store to test, sinks, sources, damaged streams. */
import { equal, rejects } from 'node:assert/strict'
import { createHash } from 'node:crypto'
import type { Backupable, BackupOptions, SnapshotSink, SnapshotSource, SnapshotSummary } from '../../src/contracts/backupable.ts'
import { openSnapshot } from '../../src/format/snapshot-reader.ts'
import type { TestRunner } from './runner.ts'

/** A fresh, empty store of the test's own, and what only its author knows how to do to it. */
export interface BackupableFixture {
  readonly store: Backupable
  /** The store's persistent ID; left out only where `supports.storeId` is false. */
  readonly storeId?: (() => Promise<string>) | undefined
  /** Fills the store with about this many made-up records, the same for the same count. */
  readonly populate: (records: number) => Promise<void>
  /**
   * Changes records in one atomic step, at both ends of the store if it can, so that `check` tells a mixture of two steps from one.
   * Called while snapshots are taken.
   */
  readonly mutate: (step: number) => Promise<void>
  /** Rejects when the store is not as it was after some whole step. */
  readonly check: () => Promise<void>
  /** All of the store's data as text; equal for equal data. The store's own ID does not count. */
  readonly dump: () => Promise<string>
  /** Every payload ID that the store refers to, in any order, found by the test's own means. */
  readonly payloadIds: () => Promise<readonly string[]>
  readonly cleanup: () => Promise<void>
}

export interface BackupableConformanceOptions {
  readonly name: string
  readonly runner: TestRunner
  /** Called once or more per test. */
  readonly factory: () => Promise<BackupableFixture>
  /** Seed of random damage, printed with failures. @default the time */
  readonly seed?: number | undefined
  /** How many random faults to try. @default 40 */
  readonly faults?: number | undefined
  /** What the store can do beyond the least. */
  readonly supports?:
    | {
        /** The store keeps an ID of its own, which its snapshots name. @default true */
        readonly storeId?: boolean | undefined
      }
    | undefined
}

/** Registers one test; `make` gives fresh stores, all of them cleaned up after it. Where what it tries is not supported it is shown as skipped. */
export type RegisterTest = (title: string, body: (make: () => Promise<BackupableFixture>) => Promise<void>, isSupported?: boolean) => void

/** A snapshot as the tests keep it. */
export interface Snapshot {
  readonly bytes: Uint8Array
  readonly summary: SnapshotSummary
  readonly payloadIds: readonly string[]
}

/** Takes a snapshot and checks what must be true of all: the summary and the payload-ID set describe it. */
export async function snapshotOf(
  store: Backupable,
  { onWrite, ...options }: BackupOptions & { readonly onWrite?: (() => Promise<void>) | undefined } = {},
): Promise<Snapshot> {
  const sink = new CollectingSink(onWrite)
  const set = await store.backup(sink, options)
  try {
    const bytes = Buffer.concat(sink.chunks)
    const { summary } = sink
    if (summary === undefined) throw new Error('The sink was not finished')
    const payloadIds: string[] = []
    for await (const id of set) payloadIds.push(id)
    equal(summary.bytes, bytes.byteLength)
    equal(summary.sha256, createHash('sha256').update(bytes).digest('hex'))
    equal(summary.storeKind, store.kind)
    equal(summary.payloadIds.count, payloadIds.length)
    equal(summary.payloadIds.count, set.size)
    equal(summary.payloadIds.digest, set.digest)
    return { bytes, summary, payloadIds }
  } finally {
    await set.close()
  }
}

export class CollectingSink implements SnapshotSink {
  readonly chunks: Uint8Array[] = []
  summary: SnapshotSummary | undefined
  readonly #onWrite: (() => Promise<void>) | undefined

  constructor(onWrite?: () => Promise<void>) {
    this.#onWrite = onWrite
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.chunks.push(chunk)
    await this.#onWrite?.()
  }

  async finish(summary: SnapshotSummary): Promise<void> {
    this.summary = summary
  }
}

/** A source that gives bytes in chunks, and says how much was taken and whether it was closed. */
export class CountingSource implements SnapshotSource {
  bytesRead = 0
  isClosed = false
  readonly #bytes: Uint8Array
  readonly #onChunk: ((bytesRead: number) => void | Promise<void>) | undefined
  readonly #chunkBytes: number

  constructor(bytes: Uint8Array, { chunkBytes = 65_536, onChunk }: { chunkBytes?: number; onChunk?: (bytesRead: number) => void | Promise<void> } = {}) {
    this.#bytes = bytes
    this.#chunkBytes = chunkBytes
    this.#onChunk = onChunk
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      while (this.bytesRead < this.#bytes.byteLength) {
        const chunk = this.#bytes.slice(this.bytesRead, this.bytesRead + this.#chunkBytes)
        this.bytesRead += chunk.byteLength
        await this.#onChunk?.(this.bytesRead)
        yield chunk
      }
    } finally {
      this.isClosed = true
    }
  }
}

export async function restoreBytes(store: Backupable, bytes: Uint8Array): Promise<void> {
  await store.restore(new CountingSource(bytes))
}

/** The frames of a snapshot that hold data: section and content. */
export async function dataFrames(bytes: Uint8Array): Promise<readonly string[]> {
  const reader = await openSnapshot(new CountingSource(bytes))
  try {
    const frames: string[] = []
    for await (const { section, records, data } of reader.frames()) {
      frames.push(`${section} ${records} ${createHash('sha256').update(data).digest('hex')}`)
    }
    return frames
  } finally {
    await reader.close()
  }
}

/** Resolves with the error when the promise rejects with this code. */
export async function refused(promise: Promise<unknown>, code: string, context = ''): Promise<Error> {
  let refusal: Error | undefined
  await rejects(promise, (error: Error & { code?: unknown }) => {
    equal(error.code, code, `${context} ${error.name}: ${error.message}`)
    refusal = error
    return true
  }, context)
  return refusal as Error
}
