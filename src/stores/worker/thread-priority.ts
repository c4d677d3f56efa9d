/** Makes a worker thread give way to the server's own threads. */
import { readlinkSync } from 'node:fs'
import { constants, setPriority } from 'node:os'

/**
 * Gives the calling thread the lowest scheduling priority where the system has one per thread (Linux). It then runs on what
 * processor time the server leaves, and as fast as ever when the server leaves it all.
 */
export function lowerThreadPriority(): void {
  if (process.platform !== 'linux') return
  // "<process>/task/<thread>"; Linux takes the ID of a thread for that of a process.
  const threadId = Number(readlinkSync('/proc/thread-self').split('/').at(-1))
  setPriority(threadId, constants.priority.PRIORITY_LOW)
}
