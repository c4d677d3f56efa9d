/** Backups against the recipe of Level's maintainers: a stream of entries piped to a file, one line of JSON each. */
import { createWriteStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ClassicLevel } from 'classic-level'
import { EntryStream } from 'level-read-stream'
import type { Backupable } from '../../../src/backupable.ts'
import { type BenchRow, compared, interleaved, secondsOf } from '../bench.ts'
import { filledDatabase, filledMetadataStore } from '../entries.ts'
import { backupToFs, entriesBackupable, metadataBackupable, withDatabase, withDirectory } from '../store.ts'

export const recipeRow: BenchRow = {
  name: 'recipe',
  async run(context) {
    const { directory, entries, rounds } = context
    const against = async (database: string, backupable: (db: ClassicLevel) => Backupable): Promise<{ measured: number; reference: number; unit: string }> => {
      const rates = await withDatabase(database, async (db) =>
        interleaved(rounds, {
          measured: async () => entries / (await withDirectory(directory, (path) => secondsOf(() => backupToFs(backupable(db), path)))),
          reference: async () => entries / (await withDirectory(directory, (path) => secondsOf(() => recipe(db, join(path, 'dump.jsonl'))))),
        }),
      )
      return { ...rates, unit: 'entries/s' }
    }
    const metadata = await against(await filledMetadataStore(context, entries), metadataBackupable)
    const unsorted = await against(await filledDatabase(context, entries), entriesBackupable)
    const target = { atLeast: 4 }
    return [
      compared('backup to fs, metadata store / entry stream piped to a file', metadata, target),
      compared('backup to fs, payload IDs unsorted / entry stream piped to a file', unsorted, target),
    ]
  },
}

async function recipe(db: ClassicLevel, path: string): Promise<void> {
  const lines = new Transform({
    writableObjectMode: true,
    transform(entry: unknown, _encoding, done) {
      done(null, `${JSON.stringify(entry)}\n`)
    },
  })
  await pipeline(new EntryStream(db), lines, createWriteStream(path, { flags: 'wx' }))
  const file = await open(path)
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}
