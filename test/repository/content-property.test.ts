/** What `verify` calls good is what a restore takes: crafted streams of metadata stores, whole by every frame, count and digest. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { fsDestination } from '../../destinations/fs/index.ts'
import type { Destination } from '../../src/contracts/destination.ts'
import { checkTree } from '../../src/metadata/check-tree.ts'
import { findContentCheck } from '../../src/registry/content-checks.ts'
import { verifyBackup } from '../../src/repository/verify-backup.ts'
import { restoreBackup } from '../../src/restore/restore-backup.ts'
import { openMemoryStore } from '../../src/stores/memory/index.ts'
import { type Backup, idsOf, takeBackup } from '../restore/publish.ts'
import { fillStore } from '../restore/trees.ts'
import { quickFiles } from '../support/faulty-files.ts'
import { publishCrafted, rebuilt } from '../support/rebuilt-stream.ts'
import { randomFrom, runs, seed } from '../support/seed.ts'
import { chunksOf, payloadIdsObject, readStreamWhole } from '../support/streams.ts'
import { type Case, MUTATIONS, type TextRecord } from './content-mutations.ts'

interface Verdict {
  readonly code: string
  readonly message: string
  readonly hint: string
}

const GOOD: Verdict = { code: 'good', message: '', hint: '' }
const counts = { 'good and restored': 0, 'bad and refused': 0 }
afterAll(() => console.log(`crafted metadata streams (seed ${seed}): ${Object.entries(counts).map(([what, count]) => `${count} ${what}`).join(', ')}`))

let backup: Backup
let given: Omit<Case, 'pick'>
let destination: Destination

beforeAll(async () => {
  await using store = await openMemoryStore()
  await fillStore(store, { seed: 1, files: 60 })
  const view = await store.view()
  for await (const { inode, type } of view.inodes()) if (type === 'file' && inode % 9 === 0) await store.lock({ inode, owner: 'a', kind: 'shared', start: 0, end: undefined })
  await view.close()
  backup = await takeBackup(store)
  const { data } = await readStreamWhole(chunksOf(backup.payload))
  const sections = Object.keys(backup.manifest.records)
  const records = sections.map((_, section) => data.filter((frame) => frame.section === section).flatMap((frame) => frame.records as readonly TextRecord[]))
  given = { sections, records, ids: await idsOf(backup) }
  const path = await mkdtemp(join(tmpdir(), 'holdfast-test-'))
  destination = fsDestination({ path, files: quickFiles })
  return () => rm(path, { recursive: true, force: true })
})

async function verdictOf(task: () => Promise<unknown>): Promise<Verdict> {
  return await task().then(() => GOOD, (error: unknown) => error as Error & Verdict)
}

async function restored(backupId: string): Promise<void> {
  await using target = await openMemoryStore()
  await restoreBackup({ target, destination, backupId, allowStoreId: true })
  expect(await checkTree(target)).toEqual([])
}

it.each(Object.entries(MUTATIONS))('%s', async (_, mutate) => {
  for (let run = 0; run < runs(40); run++) {
    const random = randomFrom(seed + run)
    const crafted = mutate({ ...given, pick: (limit) => Math.floor(random() * limit) })
    if (crafted === undefined) continue
    const stream = await rebuilt(backup.payload, crafted)
    const ids = crafted.ids === undefined ? backup.payloadIds : (await payloadIdsObject(crafted.ids)).bytes
    const backupId = await publishCrafted(destination, stream, { ids, manifest: crafted.manifest })
    const verified = await verdictOf(() => verifyBackup({ destination, backupId, contentCheck: findContentCheck }))
    const outcome = await verdictOf(() => restored(backupId))
    const which = `run ${run}: verify says ${verified.code} ${verified.message}; restore says ${outcome.code} ${outcome.message}`
    expect(verified.code === 'good', which).toBe(outcome.code === 'good')
    counts[verified.code === 'good' ? 'good and restored' : 'bad and refused']++
    // What no restore could take says so, and not that a record is to be mended.
    for (const { hint } of [verified, outcome]) expect(hint, which).not.toMatch(/repair|remove the record/i)
  }
})

it('knows good from bad', () => {
  expect(counts['good and restored']).toBeGreaterThan(20)
  expect(counts['bad and refused']).toBeGreaterThan(100)
})
