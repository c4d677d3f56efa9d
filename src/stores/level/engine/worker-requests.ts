/** The requests to the worker threads of a LevelDB store, their `workerData`, and how they open the database. */
import { ClassicLevel } from 'classic-level'
import type { BackupOptions } from '../../../contracts/backupable.ts'
import { closing } from '../../../errors/clean-up.ts'
import type { RecordEncoding } from './database-view.ts'
import type { StoreDescription } from './key-spans.ts'

export interface RestoreRequest extends StoreDescription {
  /** Exactly the location that the calling thread opened: the binding finds the open handle by this text. */
  readonly location: string
}

export interface SnapshotRequest extends RestoreRequest, Pick<BackupOptions, 'backupId' | 'compress'> {
  readonly encoding: RecordEncoding
  /** URL of the module that exports `payloadIds`. */
  readonly payloadIdsModule: string
  readonly spillDirectory: string | undefined
}

/** Runs a task with the database open, and closes the database afterwards. */
export async function withDatabase<T>(location: string, task: (db: ClassicLevel) => Promise<T>): Promise<T> {
  const db = new ClassicLevel(location, { multithreading: true, createIfMissing: false })
  await db.open()
  return await closing(db, task)
}
