/**
 * Sweeps payloads against 30 backups, publishes one more and sweeps again, and so on; prints as JSON how many decisions a second that were.
 * Arguments: how many payloads, which is how many IDs each backup has; an empty directory.
 */
import { join } from 'node:path'
import { fsDestination } from '../../destinations/fs/index.ts'
import { deleteBackup } from '../../src/repository/delete-backups.ts'
import { runBackup } from '../../src/backup/run-backup.ts'
import { openHolds } from '../../src/gc/holds/holds.ts'
import { sweepPayloads } from '../../src/gc/sweep/sweep-payloads.ts'
import type { PayloadReferences } from '../../src/contracts/payload-store.ts'
import { openLevelCatalog } from '../../src/catalog/level/index.ts'
import { secondsOf } from './bench.ts'
import { payloadIdsStore } from './payload-ids-store.ts'
import { riseMib } from './resident.ts'
import { referencesTo, setOf, storeOf, SweptPayloads } from './swept-payloads.ts'

const BACKUPS = 30

const [size = '0', path = ''] = process.argv.slice(2)
const count = Number(size)
const swept = new SweptPayloads(count)
const destination = fsDestination({ path: join(path, 'backups') })
const catalog = await openLevelCatalog(join(path, 'catalog'))
const holds = openHolds({ catalog, destinations: [destination], directory: join(path, 'holds') })
const payloads = storeOf(await setOf(swept.stored()))
const live = referencesTo(await setOf(swept.live()))

async function publish(number: number): Promise<string> {
  const store = payloadIdsStore(async (builder) => {
    for (const list of swept.backup(number)) builder.addList(list)
  })
  return (await runBackup({ store, destination, catalog })).backupId
}

/** Decisions per second; of each payload it is known who needs it. */
async function sweepRate(stores: readonly PayloadReferences[] = []): Promise<number> {
  let listed = 0
  const seconds = await secondsOf(async () => {
    const report = await sweepPayloads({ payloads, stores, holds, minAgeMs: 3_600_000 })
    listed = report.listed.payloads
  })
  if (listed !== count) throw new Error(`${listed} payloads instead of ${count}`)
  return listed / seconds
}

const backupIds: string[] = []
for (let number = 0; number < BACKUPS; number++) backupIds.push(await publish(number))
let [first, oneNew] = [0, 0]
const firstMib = await riseMib(async () => {
  first = await sweepRate()
})
await publish(BACKUPS)
const oneNewMib = await riseMib(async () => {
  oneNew = await sweepRate()
})
const none = await sweepRate()
const withStore = await sweepRate([live])
await deleteBackup({ destination, catalog, backupId: backupIds[1] ?? '' })
const oneGone = await sweepRate()
await catalog.close()
process.stdout.write(`${JSON.stringify({ first, oneNew, none, withStore, oneGone, mib: Math.max(firstMib, oneNewMib) })}\n`)
