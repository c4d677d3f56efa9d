/** Backups against the recipe of Level's maintainers: a stream of entries piped to a file, one line of JSON each. */
import { createWriteStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ClassicLevel } from 'classic-level'
import { EntryStream } from 'level-read-stream'
import { type BenchRow, compared, interleaved, secondsOf } from '../bench.ts'
import { filledDatabase } from '../entries.ts'
import { backupToFs, entriesBackupable, withDatabase, withDirectory } from '../store.ts'

export const recipeRow: BenchRow = {
  name: 'recipe',
  async run(context) {
    const { directory, entries, rounds } = context
    const rates = await withDatabase(await filledDatabase(context, entries), async (db) =>
      interleaved(rounds, {
        backup: async () => entries / (await withDirectory(directory, (path) => secondsOf(() => backupToFs(entriesBackupable(db), path)))),
        recipe: async () => entries / (await withDirectory(directory, (path) => secondsOf(() => recipe(db, join(path, 'dump.jsonl'))))),
      }),
    )
    const values = { measured: rates.backup, reference: rates.recipe, unit: 'entries/s' }
    return [compared('backup to fs / entry stream piped to a file', values, { atLeast: 4 })]
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
