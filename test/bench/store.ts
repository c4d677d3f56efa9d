/** The parts of Holdfast that rows measure, put together as the executor does. */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { fsDestination } from '../../destinations/fs/index.ts'
import { newUlid } from '../../src/util/ulid.ts'
import type { Backupable, SnapshotSummary } from '../../src/contracts/backupable.ts'
import type { Destination } from '../../src/contracts/destination.ts'
import { levelBackupable } from '../../src/stores/level/engine/level-backupable.ts'
import { SECTIONS } from '../../src/stores/level/store/keys.ts'
import { OPEN_OPTIONS } from './entries.ts'

/** Opens a database as its server would, for as long as the task takes. */
export async function withDatabase<T>(path: string, task: (db: ClassicLevel) => Promise<T>): Promise<T> {
  const db = new ClassicLevel(path, OPEN_OPTIONS)
  await db.open()
  try {
    return await task(db)
  } finally {
    await db.close()
  }
}

/** An embedder's database, with payload IDs in no order. */
export function entriesBackupable(db: ClassicLevel): Backupable {
  return levelBackupable(db, { payloadIds: new URL('./payload-ids-of-entry.js', import.meta.url), multithreading: true })
}

/** A metadata store's database, every record checked. */
export function metadataBackupable(db: ClassicLevel): Backupable {
  const payloadIds = new URL('../../src/stores/level/store/payload-ids-of-record.js', import.meta.url)
  return levelBackupable(db, { payloadIds, sections: SECTIONS, multithreading: true })
}

export interface StoredBackup {
  readonly backupId: string
  readonly destination: Destination
  readonly summary: SnapshotSummary
}

/** Backs up into a directory until the backup is durable and listed. */
export async function backupToFs(store: Backupable, directory: string): Promise<StoredBackup> {
  const destination = fsDestination({ path: directory })
  const backupId = newUlid()
  const upload = await destination.put(backupId)
  let summary: SnapshotSummary | undefined
  const payloadIds = await store.backup({
    write: (chunk) => upload.write('payload', chunk),
    async finish(written) {
      summary = written
    },
    returnsChunks: true,
  })
  try {
    for await (const chunk of payloadIds.encoded()) await upload.write('payload-ids', chunk)
  } finally {
    await payloadIds.close()
  }
  if (summary === undefined) throw new Error('The sink was not finished')
  // Stands for the manifest: the rows measure bytes on their way to the disk.
  await upload.publish(Buffer.from(JSON.stringify(summary)))
  return { backupId, destination, summary }
}

/** An empty directory for one measurement, removed after it. */
export async function withDirectory<T>(parent: string, task: (directory: string) => Promise<T>): Promise<T> {
  const directory = join(parent, `run-${process.hrtime.bigint()}`)
  await mkdir(directory)
  try {
    return await task(directory)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** A sink that throws everything away. */
export const NOWHERE = { write: async (): Promise<void> => undefined, finish: async (): Promise<void> => undefined, returnsChunks: true }
