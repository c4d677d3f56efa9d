/**
 * Backs up a LevelDB of so many records with very many payload IDs, reads the backup back and restores it, in a heap that could not hold the IDs:
 * `node --max-old-space-size=N heap-child.js DIRECTORY RECORDS`. Prints how many IDs the backup has, and how many records were restored.
 */
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { fsDestination } from '../../destinations/fs/index.ts'
import { runBackup } from '../../src/backup/run-backup.ts'
import { levelBackupable } from '../../src/stores/level/index.ts'

const [directory = '', records = ''] = process.argv.slice(2)

const open = async (name: string): Promise<ClassicLevel> => {
  const db = new ClassicLevel(join(directory, name), { multithreading: true })
  await db.open()
  return db
}
const backupable = (db: ClassicLevel): ReturnType<typeof levelBackupable> =>
  levelBackupable(db, { payloadIds: new URL('./many-payload-ids.js', import.meta.url), multithreading: true })

const source = await open('source')
const batch = source.batch()
for (let number = 0; number < Number(records); number++) batch.put(String(number).padStart(8, '0'), 'x'.repeat(100))
await batch.write()
const destination = fsDestination({ path: join(directory, 'backups') })
const { backupId, manifest } = await runBackup({ store: backupable(source), destination })
await source.close()
const target = await open('target')
await backupable(target).restore(destination.open(backupId, 'payload'))
const restored = (await target.keys().all()).length
await target.close()
process.stdout.write(JSON.stringify({ payloadIds: manifest.payloadIds.count, restored }))
