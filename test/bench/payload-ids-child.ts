/**
 * Builds a set of so many payload IDs in no order, publishes it as that of a backup, reads it back, and prints as JSON what that took.
 * Arguments: how many, an empty directory.
 */
import { setImmediate } from 'node:timers/promises'
import { fsDestination } from '../../destinations/fs/index.ts'
import { runBackup } from '../../src/backup/run-backup.ts'
import { decodePayloadIdBatches } from '../../src/payload-ids/payload-id-set.ts'
import { secondsOf } from './bench.ts'
import { shuffledIds } from './payload-ids-of-index.ts'
import { payloadIdsStore } from './payload-ids-store.ts'
import { riseMib } from './resident.ts'

/** Between two looks at the memory. */
const TURN_IDS = 100_000

const [size = '0', path = ''] = process.argv.slice(2)
const count = Number(size)
const destination = fsDestination({ path })
let bytesPerId = 0
let seconds = 0

async function buildPublishRead(): Promise<void> {
  const store = payloadIdsStore(async (builder) => {
    let added = 0
    for (const payloadId of shuffledIds(count)) {
      builder.add(payloadId)
      added += 1
      if (added % TURN_IDS === 0) await setImmediate()
    }
  })
  const { backupId, manifest } = await runBackup({ store, destination })
  let read = 0
  for await (const batch of decodePayloadIdBatches(destination.open(backupId, 'payload-ids'))) read += batch.length
  if (read !== count) throw new Error(`${read} IDs instead of ${count}`)
  bytesPerId = manifest.payloadIds.bytes / count
}

const mib = await riseMib(async () => {
  seconds = await secondsOf(buildPublishRead)
})
process.stdout.write(`${JSON.stringify({ seconds, mib, bytesPerId })}\n`)
