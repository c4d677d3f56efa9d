/** Sets of payload IDs: 20 times as many as a plain store has entries are built in no order, published and read back. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type BenchContext, type BenchRow, compared, interleaved, median } from '../bench.ts'
import { withDirectory } from '../store.ts'

const run = promisify(execFile)
const CHILD = fileURLToPath(new URL('../payload-ids-child.js', import.meta.url))
const FACTOR = 10

interface Measured {
  readonly seconds: number
  readonly mib: number
  readonly bytesPerId: number
}

export const payloadIdsRow: BenchRow = {
  name: 'payload-ids',
  async run(context) {
    const small = context.entries * 2
    const large = small * FACTOR
    const found: Measured[] = []
    const seconds = await interleaved(context.rounds, {
      small: async () => (await measured(context, small)).seconds,
      large: async () => {
        found.push(await measured(context, large))
        return found.at(-1)?.seconds ?? NaN
      },
    })
    const [mib, bytes] = [median(found.map((one) => one.mib)), median(found.map((one) => one.bytesPerId))]
    const set = `a set of ${large.toLocaleString('en')} IDs`
    return [
      { name: `memory above idle, ${set} built, published and read back`, measured: mib, reference: undefined, unit: 'MiB', ratio: mib, target: { atMost: 256 } },
      compared(`time of ${set} / of a tenth of them`, { measured: seconds.large, reference: seconds.small, unit: 's' }, { atMost: 11 }),
      { name: `${set} on disk, each of 64 random hex digits`, measured: bytes, reference: undefined, unit: 'bytes/ID', ratio: bytes, target: { atMost: 33 } },
    ]
  },
}

async function measured({ directory }: BenchContext, count: number): Promise<Measured> {
  return await withDirectory(directory, async (path) => JSON.parse((await run(process.execPath, ['--expose-gc', CHILD, String(count), path])).stdout) as Measured)
}
