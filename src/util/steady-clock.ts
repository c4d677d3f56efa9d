/** A clock that never steps, and that processes of one boot of the machine share. */
import { randomUUID } from 'node:crypto'
import { readlinkSync } from 'node:fs'
import { thisProcess } from './job-owner.ts'
import { isSystemError } from './files.ts'

export interface SteadyClock {
  /** Times of different epochs cannot be compared. */
  readonly epoch: string
  nowMs(): number
}

/**
 * Time since the machine was started, not counting suspends. Where the system does not name its boot, time since the process began. The name of the
 * machine says nothing about its clock: each run of a container has another.
 */
export function steadyClock(): SteadyClock {
  const { bootId } = thisProcess()
  const isShared = process.platform === 'linux' && bootId !== ''
  return { epoch: isShared ? `${bootId} ${timeNamespace()}` : randomUUID(), nowMs: () => Number(process.hrtime.bigint() / 1_000_000n) }
}

/** Which clock the process sees, of those that the kernel shows with offsets; "" where it has no such namespaces. */
function timeNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/time')
  } catch (error) {
    // An unknown clock is shared with no other process.
    return isSystemError(error, 'ENOENT') ? '' : randomUUID()
  }
}
