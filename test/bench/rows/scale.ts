/** How the time grows with the store. */
import { type BenchRow, compared, interleaved, secondsOf } from '../bench.ts'
import { filledDatabase } from '../entries.ts'
import { backupToFs, entriesBackupable, withDatabase, withDirectory } from '../store.ts'

const FACTOR = 4

export const scaleRow: BenchRow = {
  name: 'scale',
  async run(context) {
    const { directory, entries, rounds } = context
    const small = await filledDatabase(context, entries)
    const large = await filledDatabase(context, entries * FACTOR)
    const seconds = (path: string) => (): Promise<number> =>
      withDatabase(path, (db) => withDirectory(directory, (backups) => secondsOf(() => backupToFs(entriesBackupable(db), backups))))
    const { measured, reference } = await interleaved(rounds, { measured: seconds(large), reference: seconds(small) })
    return [compared(`time of a backup of ${FACTOR} times the entries / of the plain number`, { measured, reference, unit: 's' }, { atMost: 4.4 })]
  },
}
