/**
 * The payload garbage collection against 30 backups that share 95 % of their IDs. Every backup has as many IDs as there are payloads: as many as a
 * plain store has entries, or ten million with HOLDFAST_BENCH_FULL, which takes 10 GB of disk.
 */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { BenchResult, BenchRow } from '../bench.ts'
import { withDirectory } from '../store.ts'

const run = promisify(execFile)
const CHILD = fileURLToPath(new URL('../sweep-child.js', import.meta.url))
const FULL = 10_000_000

export const sweepRow: BenchRow = {
  name: 'sweep',
  async run({ directory, entries }) {
    const count = process.env['HOLDFAST_BENCH_FULL'] === undefined ? entries : FULL
    const measured = await withDirectory(directory, async (path) => JSON.parse((await run(process.execPath, ['--expose-gc', CHILD, String(count), path])).stdout) as Measured)
    const result = (name: string, value: number, unit: string, target?: BenchResult['target']): BenchResult => ({ name, measured: value, reference: undefined, unit, ratio: value, target })
    const decisions = 'decisions/s'
    return [
      result(`sweep of ${count.toLocaleString('en')} payloads, 30 backups of as many IDs, for the first time`, measured.first, decisions, { atLeast: 150_000 }),
      result('the same, one more backup since the last sweep', measured.oneNew, decisions, { atLeast: 1_000_000 }),
      result('the same, nothing new', measured.none, decisions),
      result('the same, and a store that refers to four fifths of the payloads', measured.withStore, decisions),
      result('the same, one backup deleted since the last sweep', measured.oneGone, decisions),
      result('memory above idle, the first two of these sweeps', measured.mib, 'MiB', { atMost: 256 }),
    ]
  },
}

interface Measured {
  readonly first: number
  readonly oneNew: number
  readonly none: number
  readonly withStore: number
  readonly oneGone: number
  readonly mib: number
}
