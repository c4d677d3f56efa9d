/**
 * The keeper of one run of the tests: it makes the folder for all temporary files of the run, prints the folder's path as one line, and waits until
 * its standard input ends, which happens however the runner ends. Then it kills what the run has left running, and removes the folder and the one
 * that the runner made for itself, which its argument names.
 *
 * Processes of a run carry HOLDFAST_TEST_RUN in their environment, where `/proc` shows it. Servers and the shells around them do not: they end by
 * themselves when the process that needs them has gone, and only the folder in their TMPDIR tells that they belong to the run.
 */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** How long servers may take to stop. */
const SERVERS_STOP_MS = 30_000

const directory = mkdtempSync(join(tmpdir(), 'holdfast-run-'))
// The user that a Postgres server runs as passes through.
chmodSync(directory, 0o711)
const [, , runnersOwn = directory] = process.argv
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
process.stdout.write(`${directory}\n`)

await new Promise<void>((settle) => process.stdin.once('end', settle).once('close', settle).resume())
// A process may start another one just before it is killed.
while (killAll(`HOLDFAST_TEST_RUN=${directory}`) > 0) await delay(20)
const deadline = performance.now() + SERVERS_STOP_MS
while (processesWith(`TMPDIR=${directory}`).length > 0 && performance.now() < deadline) await delay(50)
killAll(`TMPDIR=${directory}`)
for (const path of [directory, runnersOwn]) rmSync(path, { recursive: true, force: true, maxRetries: 5 })
process.exit(0)

/** Kills all processes whose environment has the entry; returns how many there were. */
function killAll(entry: string): number {
  const found = processesWith(entry)
  for (const processId of found) {
    try {
      process.kill(processId, 'SIGKILL')
    } catch {
      // It has ended by itself.
    }
  }
  return found.length
}

function processesWith(entry: string): readonly number[] {
  return processIds().filter((processId) => processId !== process.pid && environmentOf(processId).includes(entry))
}

/** Every process of the machine; none where there is no `/proc`. */
function processIds(): readonly number[] {
  try {
    return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map(Number)
  } catch {
    return []
  }
}

/** What a process was started with; nothing for one of another user, and for one that has ended. */
function environmentOf(processId: number): readonly string[] {
  try {
    return readFileSync(`/proc/${processId}/environ`, 'utf8').split('\0')
  } catch {
    return []
  }
}
