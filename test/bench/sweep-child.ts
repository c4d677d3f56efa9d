/**
 * Sweeps payloads against 30 backups, publishes one more, sweeps again, deletes one, and sweeps again; prints as JSON how fast and how big that was.
 * Arguments: how many payloads, and IDs of each backup; an empty directory.
 */
import { join } from 'node:path'
import { fsDestination } from '../../destinations/fs.ts'
import { deleteBackup } from '../../src/backup/delete-backup.ts'
import { runBackup } from '../../src/backup/run-backup.ts'
import { openHolds } from '../../src/holds/holds.ts'
import { sweepPayloads } from '../../src/holds/sweep-payloads.ts'
import { openLevelCatalog } from '../../src/stores/catalog/index.ts'
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
const store = referencesTo(await setOf(swept.live()))

async function publish(number: number): Promise<string> {
  const store = payloadIdsStore(async (builder) => {
    for (const list of swept.backup(number)) builder.addList(list)
  })
  return (await runBackup({ store, destination, catalog })).backupId
}

/** Decisions per second. */
async function sweepRate(): Promise<number> {
  let listed = 0
  const before = process.cpuUsage()
  const seconds = await secondsOf(async () => {
    const report = await sweepPayloads({ payloads, stores: [store], holds, minAgeMs: 3_600_000 })
    listed = report.listed.payloads
    const { live, held, waiting } = report
    if (process.env['HOLDFAST_BENCH_VERBOSE'] !== undefined) console.error(JSON.stringify({ listed, live, held, waiting, seconds: report.durationMs / 1000, cpu: process.cpuUsage(before) }))
  })
  if (listed !== count) throw new Error(`${listed} payloads instead of ${count}`)
  return listed / seconds
}

const backupIds: string[] = []
for (let number = 0; number < BACKUPS; number++) backupIds.push(await publish(number))
let first = 0
const mib = await riseMib(async () => {
  first = await sweepRate()
})
await publish(BACKUPS)
const oneNew = await sweepRate()
const none = await sweepRate()
await deleteBackup({ destination, catalog, backupId: backupIds[0] ?? '' })
const oneGone = await sweepRate()
await catalog.close()
process.stdout.write(`${JSON.stringify({ first, oneNew, none, oneGone, mib })}\n`)
