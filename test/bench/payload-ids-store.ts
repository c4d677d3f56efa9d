/** A store of hardly any records that refers to any number of payloads: what is measured is what becomes of their IDs. */
import type { Backupable } from '../../src/contracts/backupable.ts'
import { PayloadIdSetBuilder } from '../../src/payload-ids/payload-id-set.ts'
import { SnapshotWriter } from '../../src/format/snapshot-writer.ts'

export function payloadIdsStore(gather: (builder: PayloadIdSetBuilder) => Promise<void>): Backupable {
  return {
    kind: 'bench',
    async backup(sink) {
      const writer = new SnapshotWriter(sink, { storeKind: 'bench', storeId: 'bench', schemaVersion: 1, sections: ['entries'], createdAtMs: Date.now() })
      await writer.start()
      const builder = new PayloadIdSetBuilder()
      await gather(builder)
      const payloadIds = await builder.finish()
      await writer.finish({ count: payloadIds.size, digest: payloadIds.digest })
      return payloadIds
    },
    restore: () => Promise.reject(new Error('Not needed')),
  }
}
