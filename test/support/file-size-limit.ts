/**
 * A limit to the size of the files that this process writes (RLIMIT_FSIZE): the write that would cross it is cut there, and the next fails
 * with EFBIG. So writes of LevelDB fail for real, at a chosen byte. Linux, with `prlimit`.
 */
import { execFileSync } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

export const canLimitFileSize: boolean = process.platform === 'linux' && limits()

export function limitFileSize(bytes: number | 'unlimited'): void {
  execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${bytes}:`], { stdio: 'ignore' })
}

/** Sets the limit so that LevelDB can append so many bytes to its log, in one of the directories below a path. */
export function limitLog(path: string, bytes: number): void {
  limitFileSize(logBytes(path) + bytes)
}

/** The size of the largest log below a path. */
function logBytes(path: string): number {
  const logs = readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) => /\d{6}\.log$/.test(name))
  return Math.max(...logs.map((name) => statSync(join(path, name)).size))
}

function limits(): boolean {
  try {
    limitFileSize('unlimited')
    return true
  } catch {
    return false
  }
}
