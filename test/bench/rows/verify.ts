/** Checking a stored backup against the SHA-256 of the same file. */
import { createHash } from 'node:crypto'
import { openSnapshot } from '../../../src/snapshot/snapshot-reader.ts'
import { type BenchRow, compared, interleaved, secondsOf } from '../bench.ts'
import { filledDatabase } from '../entries.ts'
import { type StoredBackup, backupToFs, entriesBackupable, withDatabase, withDirectory } from '../store.ts'

const MIB = 1024 * 1024

export const verifyRow: BenchRow = {
  name: 'verify',
  async run(context) {
    const { directory, entries, rounds } = context
    const path = await filledDatabase(context, entries)
    return await withDirectory(directory, async (backups) => {
      const stored = await withDatabase(path, (db) => backupToFs(entriesBackupable(db), backups))
      const mib = stored.summary.bytes / MIB
      const rates = await interleaved(rounds, {
        verify: async () => mib / (await secondsOf(() => check(stored))),
        sha256: async () => mib / (await secondsOf(() => hash(stored))),
      })
      return [compared('check of a stored snapshot / sha256 of the file', { measured: rates.verify, reference: rates.sha256, unit: 'MiB/s' }, { atLeast: 0.5 })]
    })
  },
}

async function check({ destination, backupId }: StoredBackup): Promise<void> {
  const reader = await openSnapshot(destination.open(backupId, 'payload'))
  for await (const _ of reader.frames());
}

async function hash({ destination, backupId }: StoredBackup): Promise<void> {
  const sha256 = createHash('sha256')
  for await (const chunk of destination.open(backupId, 'payload')) sha256.update(chunk)
  sha256.digest('hex')
}
