/** Which process a job belongs to, so that a job whose process died can be told from one that is running. */
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { isSystemError } from './files.ts'

export interface JobOwner {
  readonly host: string
  readonly pid: number
  /** Of the running kernel; "" where the system has none. */
  readonly bootId: string
  /** When the process started, in the system's own units: a process ID is used again, this is not. "" where the system does not tell. */
  readonly start: string
}

/** Jobs of this process that have not ended. */
const underWay = new Set<string>()

let self: JobOwner | undefined

/** The running process. */
export function thisProcess(): JobOwner {
  self ??= { host: hostname(), pid: process.pid, bootId: bootId(), start: startOf(process.pid) ?? '' }
  return self
}

/** Says that a job of this process is under way, until the returned function is called. */
export function markUnderWay(jobId: string): () => void {
  underWay.add(jobId)
  return () => void underWay.delete(jobId)
}

/**
 * Whether a job may still be going on: its process runs on this machine. A job of another machine cannot be: a catalog belongs to one
 * process at a time, and that is the one that asks.
 */
export function mayBeUnderWay(jobId: string, owner: JobOwner): boolean {
  const { host, pid, bootId, start } = thisProcess()
  if (owner.host !== host || owner.bootId !== bootId) return false
  if (owner.pid === pid) return owner.start === start && underWay.has(jobId)
  const running = startOf(owner.pid)
  return running !== undefined && running === owner.start
}

/**
 * Whether a process is proven to have ended, or the work in it: unlike for a job, that it is another machine's proves nothing, for the work
 * may go on there. `undefined` where it cannot be told.
 */
export function hasEnded(id: string, owner: JobOwner): boolean | undefined {
  if (owner.host !== hostname()) return undefined
  if (owner.bootId === '' && process.platform === 'linux') return undefined
  return !mayBeUnderWay(id, owner)
}

function bootId(): string {
  return readIfThere('/proc/sys/kernel/random/boot_id')?.trim() ?? ''
}

/** "" where the system does not tell; `undefined` where there is no such process, or only what its parent has not asked after yet. */
function startOf(pid: number): string | undefined {
  if (process.platform !== 'linux') return exists(pid) ? '' : undefined
  // "pid (name) state ppid ...": the name may hold anything, so fields are counted from its end. The state is the third field of all.
  const stat = readIfThere(`/proc/${pid}/stat`)
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? []
  const [state, threads, start] = [fields[3 - 3], fields[20 - 3], fields[22 - 3]]
  // A zombie has ended once no thread of it is left but the first; in a container it may stay for good.
  const isZombie = (state === 'Z' || state === 'X') && Number(threads) <= 1
  return isZombie ? undefined : start
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return !isSystemError(error, 'ESRCH')
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1')
  } catch (error) {
    // A process that ends while it is read of gives ESRCH.
    if (isSystemError(error, 'ENOENT', 'ESRCH')) return undefined
    throw error
  }
}
