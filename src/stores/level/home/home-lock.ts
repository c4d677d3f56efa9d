/** One process, and one handle in it, is the owner of a home. */
import { readdir, realpath, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { StoreNotDrainedError } from '../../../errors/errors.ts'
import { isSystemError, nodeFiles } from '../../../util/files.ts'
import { openFailure } from '../engine/open-failure.ts'

export interface HomeLock {
  close(): Promise<void>
}

/**
 * Locks of this process, by real path. LevelDB must not be asked for one twice: a process gives up a lock of the kernel by
 * closing any handle of the file, and that is what refusing the second would do to the first.
 */
const held = new Set<string>()

/**
 * Takes the lock at a directory, making it when it is missing. It is an empty LevelDB, for its lock is the kernel's: it goes with
 * the process, however that ends. Rejects with `store_not_drained` when it is held.
 */
export async function lockHome(directory: string): Promise<HomeLock> {
  const path = join(await realpath(dirname(directory)), basename(directory))
  if (held.has(path)) throw new StoreNotDrainedError(`Cannot open "${dirname(directory)}": this process has it open already`)
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

/** LevelDB would make the directory with whatever mode the umask leaves: others could then hold the lock, and the store with it. */
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
    const failure = openFailure(directory, error)
    if (failure.code === 'store_not_drained') throw error
  }
  // The files beside the lock mean nothing; a power failure may have damaged them. The lock itself stays where it is.
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
