/**
 * Backups against the recipe of Level's maintainers for a live database (Level/classic-level, issue 50): a stream of entries, opened with
 * buffer encodings so that any content survives, piped to what keeps them; here a file, each key and value after its length.
 */
import { createWriteStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ClassicLevel } from 'classic-level'
import { EntryStream } from 'level-read-stream'
import type { Backupable } from '../../../src/contracts/backupable.ts'
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
          reference: async () => entries / (await withDirectory(directory, (path) => secondsOf(() => recipe(db, join(path, 'dump'))))),
        }),
      )
      return { ...rates, unit: 'entries/s' }
    }
    const metadata = await against(await filledMetadataStore(context, entries), metadataBackupable)
    const entry = await against(await filledDatabase(context, entries), entriesBackupable)
    const target = { atLeast: 4 }
    return [
      compared('backup to fs / entry stream piped to a file', entry, target),
      compared('backup to fs, metadata store, records checked / entry stream piped to a file', metadata),
    ]
  },
}

async function recipe(db: ClassicLevel, path: string): Promise<void> {
  const records = new Transform({
    writableObjectMode: true,
    transform({ key, value }: { readonly key: Buffer; readonly value: Buffer }, _encoding, done) {
      const lengths = Buffer.allocUnsafe(8)
      lengths.writeUInt32LE(key.byteLength, 0)
      lengths.writeUInt32LE(value.byteLength, 4)
      done(null, Buffer.concat([lengths, key, value]))
    },
  })
  await pipeline(new EntryStream(db, { keyEncoding: 'buffer', valueEncoding: 'buffer' }), records, createWriteStream(path, { flags: 'wx' }))
  const file = await open(path)
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}
