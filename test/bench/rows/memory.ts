/** How much memory a backup takes above the open store, in a process that does nothing else. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type BenchResult, type BenchRow, interleaved } from '../bench.ts'
import { filledDatabase } from '../entries.ts'
import { withDirectory } from '../store.ts'

const run = promisify(execFile)
const CHILD = fileURLToPath(new URL('../memory-child.js', import.meta.url))
const TARGET_MIB = 128
/** What three million entries more, a gigabyte, may take and still count as flat: what V8 has not collected yet. */
const FLAT_MIB = 32

export const memoryRow: BenchRow = {
  name: 'memory',
  async run(context) {
    const { directory, entries, rounds } = context
    const small = await filledDatabase(context, entries)
    const large = await filledDatabase(context, entries * 4)
    const results: BenchResult[] = []
    for (const task of ['backup', 'restore'] as const) {
      const peakMib = (path: string) => (): Promise<number> => withDirectory(directory, (scratch) => childPeakMib(task, path, scratch))
      const peaks = await interleaved(rounds, { small: peakMib(small), large: peakMib(large) })
      for (const [size, peak] of [[entries, peaks.small], [entries * 4, peaks.large]] as const) {
        const name = `memory above the open store, ${task} of ${size.toLocaleString('en')}`
        results.push({ name, measured: peak, reference: undefined, unit: 'MiB', ratio: peak, target: { atMost: TARGET_MIB } })
      }
      const values = { measured: peaks.large, reference: peaks.small, unit: 'MiB' }
      results.push({ name: `memory of a ${task} of 4 times the entries, less that of the plain number`, ...values, ratio: peaks.large - peaks.small, target: { atMost: FLAT_MIB } })
    }
    return results
  },
}

async function childPeakMib(task: string, path: string, scratch: string): Promise<number> {
  const { stdout } = await run(process.execPath, ['--expose-gc', CHILD, task, path, scratch])
  return Number(stdout)
}
