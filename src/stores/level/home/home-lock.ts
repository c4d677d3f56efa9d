/** The lock of a home: one process owns it, by one handle. */
import { readdir, realpath, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { StoreNotDrainedError } from '../../../errors/errors.ts'
import { isSystemError, nodeFiles } from '../../../util/files.ts'
import { lockRefusal, OPEN_HERE_HINT } from '../../../util/level-errors.ts'
import { openFailure } from '../engine/open-failure.ts'

export interface HomeLock {
  close(): Promise<void>
}

/**
 * The locks of this process, by real path. LevelDB must not be asked for a lock twice: to refuse the second, it would close a handle of
 * the file, and closing any handle gives up the kernel's lock of the process.
 */
const held = new Set<string>()

/**
 * Takes the lock at a directory, which is made when missing. The lock is that of an empty LevelDB: the kernel releases it when the process
 * ends, however it ends. Rejects with `store_not_drained` when the lock is taken.
 */
export async function lockHome(directory: string): Promise<HomeLock> {
  const path = join(await realpath(dirname(directory)), basename(directory))
  if (held.has(path)) {
    throw new StoreNotDrainedError(`Cannot open "${dirname(directory)}": this process already has it open`, {
      hint: OPEN_HERE_HINT,
    })
  }
  held.add(path)
  try {
    await makePrivate(path)
    const db = await openOrMend(path)
    return {
      async close() {
        await db.close()
        held.delete(path)
      },
    }
  } catch (error) {
    held.delete(path)
    throw openFailure(dirname(directory), error)
  }
}

/** Makes the directory private. With LevelDB's own mode, other users could take the lock and so block the store. */
async function makePrivate(directory: string): Promise<void> {
  try {
    await nodeFiles.makeDirectory(directory)
  } catch (error) {
    if (!isSystemError(error, 'EEXIST')) throw error
  }
}

async function openOrMend(directory: string): Promise<HomeLock> {
  try {
    return await openLock(directory)
  } catch (error) {
    if (lockRefusal(error) !== undefined) throw error
  }
  // The other files have no meaning, and a power failure may have damaged them. Remove all but the lock itself.
  for (const name of await readdir(directory)) {
    if (name !== 'LOCK') await rm(join(directory, name), { recursive: true, force: true })
  }
  return await openLock(directory)
}

async function openLock(directory: string): Promise<HomeLock> {
  const db = new ClassicLevel(directory)
  await db.open()
  return db
}
