/** How much memory a task takes, in a process that does nothing else. */
import { readFileSync } from 'node:fs'

/** By how many MiB the resident memory rises at most. */
export async function riseMib(run: () => Promise<unknown>): Promise<number> {
  globalThis.gc?.()
  const before = residentMib()
  let peak = before
  const timer = setInterval(() => {
    peak = Math.max(peak, residentMib())
  }, 5)
  await run()
  clearInterval(timer)
  return Math.max(peak, residentMib()) - before
}

/** Anonymous memory: pages of mapped files are the kernel's cache and go when memory is short. */
function residentMib(): number {
  const status = readFileSync('/proc/self/status', 'latin1')
  return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1] ?? process.memoryUsage.rss() / 1024) / 1024
}
