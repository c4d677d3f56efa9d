/** Backups against reading the same entries with the binding's fastest iteration and throwing them away. */
import type { ClassicLevel } from 'classic-level'
import { type BenchRow, compared, interleaved, secondsOf } from '../bench.ts'
import { filledDatabase, filledMetadataStore } from '../entries.ts'
import { backupToFs, entriesBackupable, metadataBackupable, withDatabase, withDirectory } from '../store.ts'

const SCAN = { highWaterMarkBytes: 1024 * 1024 }
const BATCH = 1000

export const backupRow: BenchRow = {
  name: 'backup',
  async run(context) {
    const { directory, entries, rounds } = context
    const unit = 'entries/s'
    const ascending = await withDatabase(await filledDatabase(context, entries), async (db) => {
      const boundary = `inodes/${String(entries >> 1).padStart(16, '0')}`
      return await interleaved(rounds, {
        backup: async () => entries / (await withDirectory(directory, (path) => secondsOf(() => backupToFs(entriesBackupable(db), path)))),
        scan: async () => entries / (await secondsOf(() => scan(db))),
        twoRanges: async () => entries / (await secondsOf(() => Promise.all([scan(db, { lt: boundary }), scan(db, { gte: boundary })]))),
      })
    })
    const unsorted = await withDatabase(await filledDatabase(context, entries, 'none'), async (db) =>
      interleaved(rounds, {
        backup: async () => entries / (await withDirectory(directory, (path) => secondsOf(() => backupToFs(entriesBackupable(db), path)))),
        scan: async () => entries / (await secondsOf(() => scan(db))),
      }),
    )
    const metadata = await withDatabase(await filledMetadataStore(context, entries), async (db) =>
      interleaved(rounds, {
        backup: async () => entries / (await withDirectory(directory, (path) => secondsOf(() => backupToFs(metadataBackupable(db), path)))),
        scan: async () => entries / (await secondsOf(() => scan(db))),
      }),
    )
    const target = { atLeast: 0.7 }
    return [
      compared('backup to fs / one iteration', { measured: ascending.backup, reference: ascending.scan, unit }, target),
      compared('backup to fs / two iterations at once', { measured: ascending.backup, reference: ascending.twoRanges, unit }),
      compared('backup to fs, metadata store, records checked / one iteration', { measured: metadata.backup, reference: metadata.scan, unit }),
      compared('backup to fs, payload IDs in no order / one iteration', { measured: unsorted.backup, reference: unsorted.scan, unit }),
    ]
  },
}

/** Each batch is asked for before the last is thrown away: no iteration of the binding is faster. */
async function scan(db: ClassicLevel, range: { readonly gte?: string; readonly lt?: string } = {}): Promise<void> {
  const iterator = db.iterator({ ...SCAN, ...range })
  try {
    while ((await iterator.nextv(BATCH)).length > 0);
  } finally {
    await iterator.close()
  }
}
