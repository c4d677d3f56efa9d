/**
 * Opens a store, reads a little of it, backs it up (or restores a backup of it into a fresh one), and prints by how many MiB the
 * resident memory of the process rose at most. Arguments: backup|restore, database, an empty directory.
 */
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { OPEN_OPTIONS } from './entries.ts'
import { riseMib } from './resident.ts'
import { backupToFs, entriesBackupable } from './store.ts'

const [task, path = '', scratch = ''] = process.argv.slice(2)

const db = new ClassicLevel(path, OPEN_OPTIONS)
await db.open()
// The caches of an open store that is in use: they are not the backup's.
for await (const _ of db.iterator({ limit: 200_000, fillCache: true }));

if (task === 'backup') {
  report(await riseMib(() => backupToFs(entriesBackupable(db), scratch)))
} else {
  const { destination, backupId } = await backupToFs(entriesBackupable(db), scratch)
  const target = new ClassicLevel(join(scratch, 'target'), OPEN_OPTIONS)
  await target.open()
  report(await riseMib(() => entriesBackupable(target).restore(destination.open(backupId, 'payload'))))
  await target.close()
}
await db.close()

function report(mib: number): void {
  process.stdout.write(`${mib}\n`)
}
