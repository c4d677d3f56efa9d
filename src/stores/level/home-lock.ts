/** One process, and one handle in it, is the owner of a home. */
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { openFailure } from './open-failure.ts'

export interface HomeLock {
  close(): Promise<void>
}

/**
 * Takes the lock at a directory, making it when it is missing. It is an empty LevelDB, for its lock is the kernel's: it goes with
 * the process, however that ends. Rejects with `store_not_drained` when it is held.
 */
export async function lockHome(directory: string): Promise<HomeLock> {
  try {
    return await openLock(directory)
  } catch (error) {
    const failure = openFailure(directory, error)
    if (failure.code === 'store_not_drained') throw failure
  }
  // The files beside the lock mean nothing; a power failure may have damaged them. The lock itself stays where it is.
  for (const name of await readdir(directory)) {
    if (name !== 'LOCK') await rm(join(directory, name), { recursive: true, force: true })
  }
  try {
    return await openLock(directory)
  } catch (error) {
    throw openFailure(directory, error)
  }
}

async function openLock(directory: string): Promise<HomeLock> {
  const db = new ClassicLevel(directory)
  await db.open()
  return db
}
