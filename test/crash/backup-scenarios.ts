/**
 * Whole attempts of the executor that a crash may cut off: destination and catalog together. Runs in the test's process and in child
 * processes that are killed.
 */
import { deepEqual, ok } from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fsDestination } from '../../destinations/fs/index.ts'
import { deleteBackup } from '../../src/repository/delete-backups.ts'
import { runBackup } from '../../src/backup/run-backup.ts'
import { verifyBackup } from '../../src/repository/verify-backup.ts'
import type { Catalog, Job } from '../../src/contracts/catalog.ts'
import { rebuildCatalog } from '../../src/repository/rebuild-catalog.ts'
import type { Destination } from '../../src/contracts/destination.ts'
import type { Files } from '../../src/util/files.ts'
import { openLevelCatalog } from '../../src/catalog/level/index.ts'
import { collect } from '../support/collect.ts'
import { FakeStore } from '../support/fake-store.ts'
import { quickFiles } from '../support/faulty-files.ts'
import type { Scenario } from './harness.ts'

const RECORDS = 120
const BEFORE = '01HZZZZZZZ0000000000000001'
const ALSO_BEFORE = '01HZZZZZZZ0000000000000002'
const IN_THREE_DAYS_MS = 3 * 24 * 60 * 60 * 1000

const rootOf = (directory: string): string => join(directory, 'backups')

function open(directory: string, files: Files): Destination {
  return fsDestination({ path: rootOf(directory), files, flushBytes: 1000 })
}

async function withCatalog<T>(directory: string, use: (catalog: Catalog) => Promise<T>): Promise<T> {
  const catalog = await openLevelCatalog(join(directory, 'catalog'))
  try {
    return await use(catalog)
  } finally {
    await catalog.close()
  }
}

function prepared(...ids: readonly string[]): Scenario['prepare'] {
  return async (directory) => {
    await withCatalog(directory, async (catalog) => {
      for (const id of ids) await runBackup({ store: FakeStore.of(10), destination: open(directory, quickFiles), catalog, newId: () => id })
    })
  }
}

/** Whatever the attempt comes to, its job must have ended. */
async function attempt(directory: string, run: (catalog: Catalog) => Promise<void>): Promise<void> {
  await withCatalog(directory, async (catalog) => {
    try {
      await run(catalog)
    } finally {
      deepEqual((await collect(catalog.jobs())).filter(({ state }) => state === 'running'), [], 'a job was left running')
    }
  })
}

/** What holds after a crash at any instant, and that the next attempt goes on. */
async function check(directory: string, { must, may }: { readonly must: readonly string[]; readonly may: (backupId: string) => boolean }): Promise<void> {
  const destination = open(directory, quickFiles)
  await withCatalog(directory, async (catalog) => {
    const jobs = await collect(catalog.jobs())
    deepEqual(jobs.filter(({ state }) => state === 'running'), [], 'a job of a dead process is still running')
    const listed = existsSync(rootOf(directory)) ? await collect(destination.list()) : []
    for (const backupId of must) ok(listed.includes(backupId), `${backupId} is lost`)
    for (const backupId of listed) {
      ok(must.includes(backupId) || may(backupId), `${backupId} came back`)
      await verifyBackup({ destination, backupId })
    }
    for (const job of jobs) await checkJob(job, { catalog, destination, listed })
    await runBackup({ store: FakeStore.of(RECORDS), destination, catalog, clock: () => Date.now() + IN_THREE_DAYS_MS })
    const after = await collect(destination.list())
    deepEqual(readdirSync(rootOf(directory)).toSorted(), after, 'leftovers remain after the next backup')
    await rebuildCatalog({ catalog, destinations: [destination] })
    for (const backupId of after) ok((await catalog.backup(backupId, destination.url)) !== undefined, `${backupId} cannot be recorded`)
  })
}

/** A backup is recorded exactly when its job succeeded, and it is listed then, unless it was deleted. */
async function checkJob({ kind, state, backupId = '' }: Job, { catalog, destination, listed }: { readonly catalog: Catalog; readonly destination: Destination; readonly listed: readonly string[] }): Promise<void> {
  const recorded = await catalog.backup(backupId, destination.url)
  const deletes = (await collect(catalog.jobs())).some((job) => job.kind === 'delete' && job.backupId === backupId)
  if (kind === 'backup' && state === 'succeeded') {
    ok(recorded !== undefined && recorded.verification?.error === undefined, `${backupId} succeeded and is not recorded as verified`)
    ok(deletes || listed.includes(backupId), `${backupId} succeeded and is not listed`)
  } else if (kind === 'backup') {
    ok(recorded === undefined, `${backupId} is recorded though its job ${state}`)
  } else if (state === 'succeeded') {
    ok(!listed.includes(backupId) && recorded?.deletedAt !== undefined, `${backupId} was deleted and is listed, or recorded as there`)
  }
}

const notBefore = (backupId: string): boolean => backupId > ALSO_BEFORE

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'the first backup',
    prepare: () => undefined,
    run: (files, directory, mark) =>
      attempt(directory, async (catalog) => {
        await runBackup({ store: FakeStore.of(RECORDS), destination: open(directory, files), catalog })
        mark('backed up')
      }),
    check: (directory) => check(directory, { must: [], may: notBefore }),
  },
  {
    name: 'a backup after another',
    prepare: prepared(BEFORE),
    run: (files, directory, mark) =>
      attempt(directory, async (catalog) => {
        await runBackup({ store: FakeStore.of(RECORDS), destination: open(directory, files), catalog })
        mark('backed up')
      }),
    check: async (directory, promises) => {
      const listed = await collect(open(directory, quickFiles).list())
      ok(!promises.has('backed up') || listed.length === 2, 'a backup that was done is lost')
      await check(directory, { must: [BEFORE], may: notBefore })
    },
  },
  {
    name: 'deleting a backup',
    prepare: prepared(BEFORE, ALSO_BEFORE),
    run: (files, directory, mark) =>
      attempt(directory, async (catalog) => {
        await deleteBackup({ destination: open(directory, files), catalog, backupId: BEFORE })
        mark('deleted')
      }),
    check: async (directory, promises) => {
      await check(directory, { must: [ALSO_BEFORE], may: (backupId) => backupId === BEFORE && !promises.has('deleted') })
      const destination = open(directory, quickFiles)
      await withCatalog(directory, async (catalog) => {
        await deleteBackup({ destination, catalog, backupId: BEFORE })
        ok((await catalog.backup(BEFORE, destination.url))?.deletedAt !== undefined, 'deleting again does not record it')
      })
    },
  },
]
