/** Identifies the process of a job, to tell a job whose process died from a running one. */
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { isSystemError } from './files.ts'

export interface JobOwner {
  readonly host: string
  readonly pid: number
  /** The boot ID of the running kernel; "" if the system has none. */
  readonly bootId: string
  /** The start time of the process, in the system's own units, because process IDs are reused; "" if not known. */
  readonly start: string
}

/** Jobs of this process that have not ended. */
const underWay = new Set<string>()

let self: JobOwner | undefined

/** Identifies the running process. */
export function thisProcess(): JobOwner {
  self ??= { host: hostname(), pid: process.pid, bootId: bootId(), start: startOf(process.pid) ?? '' }
  return self
}

/** Marks a job of this process as under way, until the returned function is called. */
export function markUnderWay(jobId: string): () => void {
  underWay.add(jobId)
  return () => void underWay.delete(jobId)
}

/**
 * Whether a job may be running: its process runs on this machine. A job of another machine cannot, because a catalog belongs to one process
 * at a time, which is the one that asks.
 */
export function mayBeUnderWay(jobId: string, owner: JobOwner): boolean {
  const { host, pid, bootId, start } = thisProcess()
  if (owner.host !== host || owner.bootId !== bootId) return false
  if (owner.pid === pid) return owner.start === start && underWay.has(jobId)
  const running = startOf(owner.pid)
  return running !== undefined && running === owner.start
}

/**
 * Whether the work of a process has certainly ended; `undefined` if not known. Unlike a job of the catalog, the work may be running on
 * another machine.
 */
export function hasEnded(id: string, owner: JobOwner): boolean | undefined {
  if (owner.host !== hostname()) return undefined
  if (owner.bootId === '' && process.platform === 'linux') return undefined
  return !mayBeUnderWay(id, owner)
}

function bootId(): string {
  return readIfThere('/proc/sys/kernel/random/boot_id')?.trim() ?? ''
}

/** The start time of a process; "" if not known, `undefined` for a missing process and for a zombie. */
function startOf(pid: number): string | undefined {
  if (process.platform !== 'linux') return exists(pid) ? '' : undefined
  // "pid (name) state ppid ...": the name may contain anything, so fields are counted from its end. The state is the third field.
  const stat = readIfThere(`/proc/${pid}/stat`)
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? []
  const [state, threads, start] = [fields[3 - 3], fields[20 - 3], fields[22 - 3]]
  // A zombie has ended when only its first thread is left; in a container it may stay for good.
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
    // Reading about a process that ends gives ESRCH.
    if (isSystemError(error, 'ENOENT', 'ESRCH')) return undefined
    throw error
  }
}
