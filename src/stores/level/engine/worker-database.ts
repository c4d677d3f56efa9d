/** A database as a worker thread uses it. */
import { ClassicLevel } from 'classic-level'

/** Runs a task with the database open, and closes it in every case. */
export async function withDatabase<T>(location: string, task: (db: ClassicLevel) => Promise<T>): Promise<T> {
  const db = new ClassicLevel(location, { multithreading: true, createIfMissing: false })
  await db.open()
  try {
    return await task(db)
  } finally {
    await db.close()
  }
}
