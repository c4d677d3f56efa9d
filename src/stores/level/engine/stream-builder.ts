/** Makes the stream and the payload-ID set of a snapshot from what a scan finds. */
import { failureAfter } from '../../../errors/clean-up.ts'
import type { BackupOptions, SnapshotProgress, SnapshotSink, StoreKind } from '../../../contracts/backupable.ts'
import { type PayloadIdSet, PayloadIdSetBuilder } from '../../../payload-ids/payload-id-set.ts'
import { SnapshotWriter } from '../../../format/snapshot-writer.ts'
import type { ScannedFrame } from './scan.ts'

export interface StreamOptions extends Pick<BackupOptions, 'backupId' | 'compress'> {
  /** Names of the sections, in order. */
  readonly sections: readonly string[]
  readonly storeKind: StoreKind
  readonly storeId: string
  readonly schemaVersion: number
  readonly spillDirectory: string | undefined
}

export class StreamBuilder {
  readonly #writer: SnapshotWriter
  readonly #payloadIds: PayloadIdSetBuilder
  readonly #onProgress: ((progress: SnapshotProgress) => void) | undefined

  constructor(sink: SnapshotSink, options: StreamOptions & { readonly createdAtMs: number; readonly onProgress?: ((progress: SnapshotProgress) => void) | undefined }) {
    this.#writer = new SnapshotWriter(sink, options)
    this.#payloadIds = new PayloadIdSetBuilder({ spillDirectory: options.spillDirectory })
    this.#onProgress = options.onProgress
  }

  async start(): Promise<void> {
    await this.#writer.start()
  }

  /** Adds a frame and its payload IDs; resolves when the sink has taken it. */
  async add({ section, records, frame, payloadIds }: ScannedFrame): Promise<void> {
    for (const list of payloadIds) this.#payloadIds.addList(list)
    // Told before the sink has the frame, as a sink may pass it on with the frame.
    this.#onProgress?.({ bytes: this.#writer.bytes + frame.byteLength, records: this.#writer.records + records })
    await this.#writer.writeFrame(section, frame, records)
  }

  /** Ends the stream, unless `check` throws. The set is the caller's. */
  async finish(check: (payloadIds: PayloadIdSet) => void): Promise<PayloadIdSet> {
    const payloadIds = await this.#payloadIds.finish()
    try {
      check(payloadIds)
      await this.#writer.finish({ count: payloadIds.size, digest: payloadIds.digest })
    } catch (error) {
      throw await failureAfter(error, () => payloadIds.close())
    }
    return payloadIds
  }

  /** Frees what is held when the set is not wanted. Idempotent; does nothing after `finish`. */
  async close(): Promise<void> {
    await this.#payloadIds.close()
  }
}
