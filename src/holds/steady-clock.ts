/** A clock that never steps, and that processes of one boot of the machine share. */
import { randomUUID } from 'node:crypto'
import { thisProcess } from '../catalog/job-owner.ts'

export interface SteadyClock {
  /** Times of different epochs cannot be compared. */
  readonly epoch: string
  nowMs(): number
}

/** Time since the machine was started, not counting suspends. Where the system does not name its boot, time since the process began. */
export function steadyClock(): SteadyClock {
  const { host, bootId } = thisProcess()
  const isShared = process.platform === 'linux' && bootId !== ''
  return { epoch: isShared ? `${host} ${bootId}` : randomUUID(), nowMs: () => Number(process.hrtime.bigint() / 1_000_000n) }
}
