import { mkdir, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { isSystemError } from './files.ts'

/**
 * Makes a directory (0700) and those above it that are missing. Resolves with what it made, the topmost first.
 *
 * Node's own recursive `mkdir` never ends where a directory refuses new ones with `ENOENT`, as /proc does.
 */
export async function makeDirectories(path: string): Promise<readonly string[]> {
  const missing = [resolve(path)]
  for (let above = dirname(missing[0] ?? '/'); !(await isThere(above)); above = dirname(above)) missing.unshift(above)
  const made: string[] = []
  for (const directory of missing) {
    try {
      await mkdir(directory, { mode: 0o700 })
      made.push(directory)
    } catch (error) {
      if (!isSystemError(error, 'EEXIST') || !(await stat(directory)).isDirectory()) throw error
    }
  }
  return made
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return false
    throw error
  }
}
