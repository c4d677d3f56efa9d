/** A clock that never steps, shared by all processes of one boot of the machine. */
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
 * The time since the machine was started, not counting suspends; without a boot ID, the time since the process began. The host name is not
 * part of the epoch: each run of a container has another.
 */
export function steadyClock(): SteadyClock {
  const { bootId } = thisProcess()
  const isShared = process.platform === 'linux' && bootId !== ''
  return { epoch: isShared ? `${bootId} ${timeNamespace()}` : randomUUID(), nowMs: () => Number(process.hrtime.bigint() / 1_000_000n) }
}

/** The time namespace of the process, which offsets its clock; "" if the kernel has none. */
function timeNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/time')
  } catch (error) {
    // An unknown clock is not shared with other processes.
    return isSystemError(error, 'ENOENT') ? '' : randomUUID()
  }
}
