/** For information: copying the files of the closed database, which no scan can match and no server that is running can do. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type BenchRow, compared, interleaved, secondsOf } from '../bench.ts'
import { filledDatabase } from '../entries.ts'
import { backupToFs, entriesBackupable, withDatabase, withDirectory } from '../store.ts'

const run = promisify(execFile)

export const copyRow: BenchRow = {
  name: 'copy',
  async run(context) {
    const { directory, entries, rounds } = context
    const path = await filledDatabase(context, entries)
    const rates = await interleaved(rounds, {
      backup: async () =>
        entries / (await withDatabase(path, (db) => withDirectory(directory, (to) => secondsOf(() => backupToFs(entriesBackupable(db), to))))),
      copy: async () =>
        entries / (await withDirectory(directory, (to) => secondsOf(() => run('sh', ['-c', 'cp -r "$0" "$1" && sync -f "$1"', path, join(to, 'copy')])))),
    })
    return [compared('backup to fs / cp -r of the closed database', { measured: rates.backup, reference: rates.copy, unit: 'entries/s' })]
  },
}
