/** A disk of a few megabytes, to be filled to the last byte. Linux, and root: others cannot mount one. */
import { execFileSync } from 'node:child_process'
import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { isSystemError } from '../../src/util/files.ts'
import { tempDir } from './temp-dir.ts'

const BALLAST = 'ballast'
const STEP_BYTES: number = 4096

export const canMount: boolean = process.platform === 'linux' && process.getuid?.() === 0 && mounts()

/** Mounts a disk; it is gone when the test has finished. */
export async function smallDisk(options: string): Promise<string> {
  const path = await tempDir()
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path])
  onTestFinished(() => void execFileSync('umount', ['-l', path]))
  return path
}

/** Takes all space that is left, but for so many bytes. */
export function fillDisk(path: string, freeBytes: number = 0): void {
  const fd = openSync(join(path, BALLAST), 'w')
  let taken = 0
  try {
    for (;;) taken += writeSync(fd, Buffer.alloc(STEP_BYTES))
  } catch (error) {
    if (!isSystemError(error, 'ENOSPC')) throw error
  } finally {
    closeSync(fd)
  }
  if (freeBytes > 0) execFileSync('truncate', ['-s', String(Math.max(0, taken - freeBytes)), join(path, BALLAST)])
}

export function emptyDisk(path: string): void {
  rmSync(join(path, BALLAST), { force: true })
}

/** A container may have root's name and not its rights. */
function mounts(): boolean {
  try {
    execFileSync('sh', ['-c', 'd=$(mktemp -d) && mount -t tmpfs tmpfs "$d" && umount "$d" && rmdir "$d"'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
