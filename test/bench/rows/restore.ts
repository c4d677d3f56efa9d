/** Restores against bare sorted batch writes of the same entries. */
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { type BenchRow, compared, interleaved, secondsOf } from '../bench.ts'
import { type Entry, filledDatabase } from '../entries.ts'
import { backupToFs, entriesBackupable, withDatabase, withDirectory } from '../store.ts'

/** As the side engines of a restore are opened. */
const TARGET_OPTIONS = { multithreading: true, writeBufferSize: 64 * 1024 * 1024 }
const BATCH = 1000

export const restoreRow: BenchRow = {
  name: 'restore',
  async run(context) {
    const { directory, entries, rounds } = context
    const path = await filledDatabase(context, entries)
    return await withDirectory(directory, async (backups) => {
      const { batches, stored } = await withDatabase(path, async (db) => ({
        batches: await batchesOf(db),
        stored: await backupToFs(entriesBackupable(db), backups),
      }))
      const rates = await interleaved(rounds, {
        restore: () => intoFresh(directory, entries, (db) => entriesBackupable(db).restore(stored.destination.open(stored.backupId, 'payload'))),
        bare: () => intoFresh(directory, entries, (db) => writeAll(db, batches)),
      })
      const values = { measured: rates.restore, reference: rates.bare, unit: 'entries/s' }
      return [compared('restore from fs / bare sorted batch writes', values, { atLeast: 0.7 })]
    })
  },
}

async function intoFresh(directory: string, entries: number, task: (db: ClassicLevel) => Promise<void>): Promise<number> {
  return await withDirectory(directory, async (path) => {
    const db = new ClassicLevel(join(path, 'db'), TARGET_OPTIONS)
    await db.open()
    try {
      return entries / (await secondsOf(() => task(db)))
    } finally {
      await db.close()
    }
  })
}

async function batchesOf(db: ClassicLevel): Promise<readonly (readonly Entry[])[]> {
  const batches: Entry[][] = []
  const iterator = db.iterator({ highWaterMarkBytes: 1024 * 1024 })
  try {
    for (;;) {
      const batch = await iterator.nextv(BATCH)
      if (batch.length === 0) return batches
      batches.push(batch)
    }
  } finally {
    await iterator.close()
  }
}

async function writeAll(db: ClassicLevel, batches: readonly (readonly Entry[])[]): Promise<void> {
  for (const [index, entries] of batches.entries()) {
    const batch = db.batch()
    for (const [key, value] of entries) batch.put(key, value)
    await batch.write({ sync: index === batches.length - 1 })
  }
}
