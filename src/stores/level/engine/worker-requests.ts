/** The requests to the worker threads of a LevelDB store, their `workerData`, and how they open the database. */
import { ClassicLevel } from 'classic-level'
import type { BackupOptions, StoreKind } from '../../../contracts/backupable.ts'
import type { KeyRange, Section } from './key-spans.ts'
import type { RecordEncoding } from './database-view.ts'

/** How a worker opens the database, and where its records are. */
export interface WorkerStore {
  /** Exactly the location that the calling thread opened: the binding finds the open handle by this text. */
  readonly location: string
  readonly sections: readonly Section[]
  readonly ownKeys: KeyRange | undefined
}

export interface SnapshotRequest extends WorkerStore, Pick<BackupOptions, 'backupId' | 'compress'> {
  readonly encoding: RecordEncoding
  /** URL of the module that exports `payloadIds`. */
  readonly payloadIdsModule: string
  readonly storeKind: StoreKind
  readonly storeId: string
  readonly schemaVersion: number
  readonly spillDirectory: string | undefined
}

export interface RestoreRequest extends WorkerStore {
  readonly accepts: readonly StoreKind[]
  readonly storeKind: StoreKind
  readonly schemaVersion: number
}

/** Runs a task with the database open, and closes the database afterwards. */
export async function withDatabase<T>(location: string, task: (db: ClassicLevel) => Promise<T>): Promise<T> {
  const db = new ClassicLevel(location, { multithreading: true, createIfMissing: false })
  await db.open()
  try {
    return await task(db)
  } finally {
    await db.close()
  }
}
