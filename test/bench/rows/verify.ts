/** Verifying a backup, all stored bytes and frames, against the SHA-256 of the same file. */
import { createHash } from 'node:crypto'
import { fsDestination } from '../../../destinations/fs/index.ts'
import { runBackup } from '../../../src/backup/run-backup.ts'
import { verifyBackup } from '../../../src/repository/verify-backup.ts'
import type { Destination } from '../../../src/contracts/destination.ts'
import { type BenchRow, compared, interleaved, secondsOf } from '../bench.ts'
import { filledDatabase } from '../entries.ts'
import { entriesBackupable, withDatabase, withDirectory } from '../store.ts'

const MIB = 1024 * 1024

export const verifyRow: BenchRow = {
  name: 'verify',
  async run(context) {
    const { directory, entries, rounds } = context
    const path = await filledDatabase(context, entries)
    return await withDirectory(directory, async (backups) => {
      const destination = fsDestination({ path: backups })
      const { manifest } = await withDatabase(path, (db) => runBackup({ store: entriesBackupable(db), destination }))
      const { backupId, payload } = manifest
      const mib = payload.bytes / MIB
      const rates = await interleaved(rounds, {
        verify: async () => mib / (await secondsOf(() => verifyBackup({ destination, backupId, level: 'checksum' }))),
        sha256: async () => mib / (await secondsOf(() => hash(destination, backupId))),
      })
      return [compared('verify of a stored backup / sha256 of its payload', { measured: rates.verify, reference: rates.sha256, unit: 'MiB/s' }, { atLeast: 0.5 })]
    })
  },
}

async function hash(destination: Destination, backupId: string): Promise<void> {
  const sha256 = createHash('sha256')
  for await (const chunk of destination.open(backupId, 'payload')) sha256.update(chunk)
  sha256.digest('hex')
}
