import { expect, test } from 'vitest'
import { runBackup } from '../../src/backup/run-backup.ts'
import type { Backupable } from '../../src/contracts/backupable.ts'
import { SnapshotWriter } from '../../src/format/snapshot-writer.ts'
import { PayloadIdSetBuilder } from '../../src/payload-ids/payload-id-set.ts'
import { checkRestored } from '../../src/repository/restore-content.ts'
import { openBackup } from '../../src/repository/stored-backup.ts'
import { newPlace } from '../backup/backups.ts'

/** A store that writes an archive: so many records in each section. */
function archiveOf(records: Readonly<Record<string, number>>): Backupable {
  return {
    kind: 'archived',
    storeId: 'archived',
    async backup(sink, { compress } = {}) {
      const writer = new SnapshotWriter(sink, {
        compress, storeKind: 'archived', storeId: 'archived', schemaVersion: 1, sections: Object.keys(records), createdAtMs: 1_700_000_000_000, content: 'archive',
      })
      await writer.start()
      for (const [section, count] of Object.values(records).entries()) if (count > 0) await writer.writeRaw(section, Buffer.from('rows'), count)
      const payloadIds = await new PayloadIdSetBuilder().finish()
      await writer.finish({ count: payloadIds.size, digest: payloadIds.digest })
      return payloadIds
    },
    restore: () => Promise.reject(new TypeError('It is only read')),
  }
}

test('checkRestored() compares the sections of an archive by name, and their records together', async () => {
  const { destination } = await newPlace()
  const { backupId } = await runBackup({ store: archiveOf({ first: 2, second: 1 }), destination })
  const backup = await openBackup({ destination, backupId })
  await checkRestored(archiveOf({ first: 1, second: 2 }), backup)
  await checkRestored(archiveOf({ second: 3, first: 0 }), backup)
  for (const records of [{ first: 2, other: 1 }, { first: 3 }, { first: 2, second: 1, third: 0 }, { first: 2, second: 2 }]) {
    await expect(checkRestored(archiveOf(records), backup), JSON.stringify(records)).rejects.toMatchObject({ code: 'checksum_mismatch' })
  }
})
