/** The longest pause of the event loop while `backup()` opens its snapshot. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Backupable } from '../../../src/contracts/backupable.ts'
import { type BenchResult, type BenchRow, interleaved } from '../bench.ts'
import { filledDatabase } from '../entries.ts'
import { entriesBackupable, withDatabase } from '../store.ts'

const TARGET_MS = 5

export const openingRow: BenchRow = {
  name: 'opening',
  async run(context) {
    const results: BenchResult[] = []
    for (const entries of [context.entries, context.entries * 4]) {
      const pauseMs = await withDatabase(await filledDatabase(context, entries), async (db) => {
        const { pause, idle } = await interleaved(context.rounds * 3, {
          pause: () => longestPauseMs(() => opened(entriesBackupable(db))),
          idle: () => longestPauseMs(() => delay(50)),
        })
        return { measured: pause, reference: idle }
      })
      const name = `pause of the event loop by opening a snapshot of ${entries.toLocaleString('en')}`
      results.push({ name, ...pauseMs, unit: 'ms', ratio: pauseMs.measured, target: { atMost: TARGET_MS } })
    }
    return results
  },
}

/** Runs a backup until its first chunk arrives, which is after the snapshot was opened. */
async function opened(store: Backupable): Promise<void> {
  const controller = new AbortController()
  const write = async (): Promise<void> => controller.abort()
  await store.backup({ write, finish: async () => undefined }, { signal: controller.signal }).then(
    (payloadIds) => payloadIds.close(),
    (error: unknown) => {
      if (!controller.signal.aborted) throw error
    },
  )
}

/** The longest time between two turns of the event loop. */
async function longestPauseMs(task: () => Promise<void>): Promise<number> {
  let longestMs = 0
  let lastMs = performance.now()
  let timer: NodeJS.Immediate | undefined
  const turn = (): void => {
    const nowMs = performance.now()
    longestMs = Math.max(longestMs, nowMs - lastMs)
    lastMs = nowMs
    timer = setImmediate(turn)
  }
  timer = setImmediate(turn)
  await task()
  clearImmediate(timer)
  return Math.max(longestMs, performance.now() - lastMs)
}
