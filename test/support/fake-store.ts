/** A `Backupable` as simple as can be, and destinations and stores that misbehave on demand. */
import type { BackupOptions, Backupable, SnapshotSink, SnapshotSource } from '../../src/contracts/backupable.ts'
import { RestoreDestinationNotEmptyError } from '../../src/errors/errors.ts'
import { type PayloadIdSet, PayloadIdSetBuilder } from '../../src/payload-ids/payload-id-set.ts'
import { compareKeys } from '../../src/format/record-order.ts'
import { decodeRecords, openSnapshot, type StoredRecord } from '../../src/format/snapshot-reader.ts'
import { SnapshotWriter } from '../../src/format/snapshot-writer.ts'

export interface FakeStoreOptions {
  readonly storeId?: string | undefined
  /** How many records a frame has. @default 100 */
  readonly batch?: number | undefined
}

/** Keeps records in an array, in the order of their keys; the payload IDs of a record are its value, when it begins with "p". */
export class FakeStore implements Backupable {
  readonly kind = 'fake'
  readonly storeId: string
  records: StoredRecord[]
  readonly #batch: number

  constructor(records: Iterable<StoredRecord> = [], { storeId = 'fake-store', batch = 100 }: FakeStoreOptions = {}) {
    this.records = [...records].toSorted(([a], [b]) => compareKeys(a, b))
    this.storeId = storeId
    this.#batch = batch
  }

  /** One with so many records, each with a payload ID. */
  static of(count: number, options?: FakeStoreOptions): FakeStore {
    return new FakeStore(Array.from({ length: count }, (_, index) => [`key-${index}`, `p${index}`] as const), options)
  }

  async backup(sink: SnapshotSink, { signal, onProgress, compress }: BackupOptions = {}): Promise<PayloadIdSet> {
    const writer = new SnapshotWriter(sink, { compress, storeKind: this.kind, storeId: this.storeId, schemaVersion: 1, sections: ['entries'], createdAtMs: 1_700_000_000_000 })
    const builder = new PayloadIdSetBuilder()
    const view = [...this.records]
    await writer.start()
    for (let start = 0; start < view.length; start += this.#batch) {
      signal?.throwIfAborted()
      const records = view.slice(start, start + this.#batch)
      for (const [, value] of records) if (String(value).startsWith('p')) builder.add(String(value))
      await writer.writeRecords(0, records)
      onProgress?.({ bytes: writer.bytes, records: writer.records })
    }
    const payloadIds = await builder.finish()
    await writer.finish({ count: payloadIds.size, digest: payloadIds.digest })
    return payloadIds
  }

  async restore(source: SnapshotSource): Promise<void> {
    if (this.records.length > 0) throw new RestoreDestinationNotEmptyError()
    const reader = await openSnapshot(source)
    const records: StoredRecord[] = []
    for await (const frame of reader.frames()) records.push(...decodeRecords(frame))
    this.records = records
  }

  async discard(): Promise<void> {
    this.records = []
  }
}
