/**
 * Opens a store, reads a little of it, backs it up (or restores a backup of it into a fresh one), and prints by how many MiB the
 * resident memory of the process rose at most. Arguments: backup|restore, database, an empty directory.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { OPEN_OPTIONS } from './entries.ts'
import { backupToFs, entriesBackupable } from './store.ts'

const [task, path = '', scratch = ''] = process.argv.slice(2)

const db = new ClassicLevel(path, OPEN_OPTIONS)
await db.open()
// The caches of an open store that is in use: they are not the backup's.
for await (const _ of db.iterator({ limit: 200_000, fillCache: true }));

if (task === 'backup') {
  report(await rise(() => backupToFs(entriesBackupable(db), scratch)))
} else {
  const { destination, backupId } = await backupToFs(entriesBackupable(db), scratch)
  const target = new ClassicLevel(join(scratch, 'target'), OPEN_OPTIONS)
  await target.open()
  report(await rise(() => entriesBackupable(target).restore(destination.open(backupId, 'payload'))))
  await target.close()
}
await db.close()

async function rise(run: () => Promise<unknown>): Promise<number> {
  globalThis.gc?.()
  const before = residentMib()
  let peak = before
  const timer = setInterval(() => {
    peak = Math.max(peak, residentMib())
  }, 5)
  await run()
  clearInterval(timer)
  return Math.max(peak, residentMib()) - before
}

/** Anonymous memory: the pages of table files that LevelDB maps are the kernel's cache and go when memory is short. */
function residentMib(): number {
  const status = readFileSync('/proc/self/status', 'latin1')
  return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1] ?? process.memoryUsage.rss() / 1024) / 1024
}

function report(mib: number): void {
  process.stdout.write(`${mib}\n`)
}
