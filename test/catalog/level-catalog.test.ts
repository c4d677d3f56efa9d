import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { MemoryLevel } from 'memory-level'
import { describe, expect, test } from 'vitest'
import { type CatalogEvent, HOLD_CHANGES } from '../../src/contracts/catalog.ts'
import { foldBackup, foldJob, foldLease, foldSweep } from '../../src/catalog/fold-events.ts'
import type { LeaseEvent, SweepEvent } from '../../src/contracts/hold-events.ts'
import { thisProcess } from '../../src/util/job-owner.ts'
import { levelCatalog } from '../../src/catalog/level/level-catalog.ts'
import { openLevelCatalog } from '../../src/catalog/level/open-level-catalog.ts'
import { testCatalog } from '../conformance/catalog.ts'
import { altered } from '../support/altered.ts'
import { collect } from '../support/collect.ts'
import { runs, seed } from '../support/seed.ts'
import { AT, BACKUP, backupEvent, holdEvent, JOB, manifestOf, OWNER, started } from './catalog-events.ts'

const PLACE = { at: AT, backupId: BACKUP, destination: 'file:/a' } as const
const RECORDED: CatalogEvent = { type: 'backup-recorded', ...PLACE, manifest: manifestOf(), how: 'backup' }

async function memoryCatalog(db = new MemoryLevel()): Promise<Awaited<ReturnType<typeof levelCatalog>>> {
  return await levelCatalog(db, { clock: () => Date.parse(AT) })
}

testCatalog({
  name: 'level',
  runner: { describe, test },
  factory: async () => {
    const directory = await mkdtemp(join(tmpdir(), 'holdfast-test-'))
    let catalog = await openLevelCatalog(directory)
    return {
      catalog,
      async reopen() {
        await catalog.close()
        return (catalog = await openLevelCatalog(directory))
      },
      async cleanup() {
        await catalog.close()
        await rm(directory, { recursive: true, force: true })
      },
    }
  },
})

describe('levelCatalog() on any events', () => {
  test('append() adds keys, changes none but the count of changes of holds, and removes none but that of a running job', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(backupEvent, { maxLength: 20 }), async (events) => {
        const db = new MemoryLevel()
        const catalog = await memoryCatalog(db)
        const before = new Map<string, string>()
        for (const event of [started(), ...events]) {
          await catalog.append(event)
          const now = new Map(await db.iterator().all())
          now.delete('hold-generation')
          for (const [key, value] of before) expect(now.get(key)).toBe(value)
          for (const [key, value] of now) before.set(key, value)
        }
        await catalog.close()
      }),
      { seed, numRuns: runs(30) },
    )
  })

  test('leases(), sweeps() and holdGeneration() are what the events come to, whatever they are', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(holdEvent, backupEvent), { maxLength: 30 }), async (events) => {
        const db = new MemoryLevel()
        const catalog = await levelCatalog(db)
        for (const event of events) await catalog.append(event)
        const leases = groupBy(events.filter((event): event is LeaseEvent => 'leaseId' in event), ({ leaseId }) => leaseId)
        const sweeps = groupBy(events.filter((event): event is SweepEvent => 'sweepId' in event), ({ sweepId }) => sweepId)
        const present = <T>(values: Iterable<T | undefined>): Set<T> => new Set([...values].filter((value) => value !== undefined))
        expect(new Set(await catalog.leases())).toEqual(present([...leases.values()].map(foldLease)))
        expect(new Set(await catalog.sweeps())).toEqual(present([...sweeps.values()].map(foldSweep)))
        expect(await catalog.holdGeneration()).toBe(events.filter(({ type }) => HOLD_CHANGES.has(type)).length)
        await catalog.close()
      }),
      { seed, numRuns: runs(100) },
    )
  })

  test('a sweep whose process is gone is ended when the catalog is opened; a lease stays', async () => {
    const db = new MemoryLevel()
    const first = await levelCatalog(db)
    await first.append({ type: 'sweep-started', at: AT, sweepId: JOB, owner: OWNER }, { type: 'lease-taken', at: AT, leaseId: BACKUP, purpose: 'backup', owner: OWNER })
    const again = await levelCatalog(db)
    expect(await again.sweeps()).toEqual([])
    expect(await again.leases()).toMatchObject([{ leaseId: BACKUP }])
    await again.close()
  })

  test('backups() are those that the events come to, whatever they are', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(backupEvent, { maxLength: 30 }), async (events) => {
        await using catalog = await memoryCatalog()
        if (events.length > 0) await catalog.append(...events)
        const groups = groupBy(events, keyOf)
        const expected = [...groups.values()].map((group) => foldBackup(group)).filter((backup) => backup !== undefined)
        expect(new Set(await collect(catalog.backups()))).toEqual(new Set(expected))
      }),
      { seed, numRuns: runs(50) },
    )
  })
})

function keyOf({ backupId, destination }: { readonly backupId: string; readonly destination: string }): string {
  return `${backupId} ${destination}`
}

function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of items) groups.set(key(item), [...(groups.get(key(item)) ?? []), item])
  return groups
}

test('foldJob() knows no job without its start', () => {
  expect(foldJob([])).toBeUndefined()
  expect(foldJob([{ type: 'job-ended', at: AT, jobId: JOB, state: 'failed' }])).toBeUndefined()
})

/** Opens it again over the same records: a memory database forgets nothing while it is referred to. */
async function reopened(db: MemoryLevel): Promise<Awaited<ReturnType<typeof levelCatalog>>> {
  const copy = new MemoryLevel()
  await db.open()
  for (const [key, value] of await db.iterator().all()) await copy.put(key, value)
  return await memoryCatalog(copy)
}

describe('levelCatalog()', () => {
  const dead = {
    'another start of the same process ID': { ...thisProcess(), start: '1' },
    'this process, which does not know the job': thisProcess(),
    'a process ID that is not there': { ...thisProcess(), pid: 2 ** 30 },
    'another boot': { ...thisProcess(), pid: process.ppid, bootId: 'before' },
    'another host': { ...thisProcess(), pid: process.ppid, host: 'elsewhere' },
  }
  test.each(Object.entries(dead))('ends a running job as interrupted whose owner is %s', async (_, owner) => {
    const db = new MemoryLevel()
    const before = await memoryCatalog(db)
    await before.append(started(JOB, { owner }), started(BACKUP, { owner }), { type: 'job-ended', at: AT, jobId: BACKUP, state: 'failed' })
    await using catalog = await reopened(db)
    const job = await catalog.job(JOB)
    expect(job).toMatchObject({ state: 'interrupted', endedAt: AT })
    expect(job?.error?.message).toMatch(/process .* ended/)
    expect(await catalog.job(BACKUP)).toMatchObject({ state: 'failed' })
    await before.close()
  })

  test('refuses a database that holds something else, and leaves it as it is', async () => {
    const db = new MemoryLevel()
    await db.put('a', 'b')
    const kept = altered(db, { close: async () => undefined })
    await expect(memoryCatalog(kept)).rejects.toMatchObject({ code: 'catalog_unavailable' })
    expect(await db.iterator().all()).toEqual([['a', 'b']])
  })

  test('refuses the format of a newer release', async () => {
    const db = new MemoryLevel()
    await db.put('catalog', '{"format":2}')
    await expect(memoryCatalog(db)).rejects.toMatchObject({ code: 'catalog_unavailable', hint: expect.stringContaining('newer') })
  })

  test('a damaged record is an error that names it, and nothing is passed over', async () => {
    const db = new MemoryLevel()
    await using catalog = await memoryCatalog(db)
    await catalog.append(started(), RECORDED)
    for (const [key] of await db.iterator().all()) if (key.includes('/0')) await db.put(key, '{"version":1}')
    for (const read of [catalog.job(JOB), collect(catalog.jobs()), collect(catalog.backups()), catalog.backup(BACKUP, 'file:/a')]) {
      await expect(read).rejects.toMatchObject({ code: 'catalog_unavailable', retryable: false, message: expect.stringMatching(/record "(jobs|backups)\//) })
    }
  })

  test('a lease whose events are lost is an error, not one that was released', async () => {
    const db = new MemoryLevel()
    await using catalog = await memoryCatalog(db)
    await db.put(`leased/${JOB}`, '')
    await expect(catalog.leases()).rejects.toMatchObject({ code: 'catalog_unavailable', retryable: false })
  })
})

describe('a catalog that a newer release used too', () => {
  const later = (type: string, fields: object): string => JSON.stringify({ version: 1, type, at: AT, ...fields })
  const LEASE = '01HZZZZZZZ0000000000000077'
  const TAKEN: CatalogEvent = { type: 'lease-taken', at: AT, leaseId: LEASE, purpose: 'backup', owner: OWNER }
  const NARROWED: CatalogEvent = { type: 'lease-narrowed', at: AT, leaseId: LEASE, payloadIds: { count: 1, bytes: 9, sha256: 'a'.repeat(64) } }
  const newerThan = async (entries: Readonly<Record<string, string>>, ...known: readonly CatalogEvent[]): Promise<{ catalog: Awaited<ReturnType<typeof memoryCatalog>>; db: MemoryLevel }> => {
    const db = new MemoryLevel()
    const before = await memoryCatalog(db)
    await before.append(...known)
    for (const [key, value] of Object.entries(entries)) await db.put(key, value)
    return { catalog: before, db }
  }

  test('opens and folds, passes over what it does not know, and keeps it', async () => {
    const entries = {
      [`jobs/${JOB}/00000001`]: later('job-paused', { jobId: JOB, until: 'tomorrow' }),
      [`jobs/01HZZZZZZZ0000000000000099/00000000`]: later('job-queued', { jobId: '01HZZZZZZZ0000000000000099' }),
      'slots/daily/2026-01-01': '{"version":3}',
    }
    const { catalog, db } = await newerThan(entries, started(JOB), RECORDED)
    const { jobId, state } = (await catalog.job(JOB)) ?? {}
    expect({ jobId, state }).toEqual({ jobId: JOB, state: 'running' })
    await catalog.append({ type: 'job-ended', at: AT, jobId: JOB, state: 'succeeded' })
    expect((await collect(catalog.jobs())).map(({ jobId, state }) => [jobId, state])).toEqual([[JOB, 'succeeded']])
    expect((await collect(catalog.backups())).map(({ backupId }) => backupId)).toEqual([BACKUP])
    for (const [key, value] of Object.entries(entries)) expect(await db.get(key)).toBe(value)
    // The event that ended the job came after the unknown one, and did not replace it.
    expect(await db.get(`jobs/${JOB}/00000002`)).toContain('job-ended')
    await using again = await levelCatalog(db, { clock: () => Date.parse(AT) })
    expect(await again.leases()).toEqual([])
  })

  test('a job that a newer release began is left to it', async () => {
    const jobId = '01HZZZZZZZ0000000000000099'
    const { db } = await newerThan({ [`jobs/${jobId}/00000000`]: later('job-queued', { jobId }), [`running/${jobId}`]: '' })
    await using again = await levelCatalog(db)
    expect(await again.job(jobId)).toBeUndefined()
    expect(await db.get(`running/${jobId}`)).toBe('')
  })

  test('a backup with an unknown event says so', async () => {
    const { catalog, db } = await newerThan({}, RECORDED)
    expect((await catalog.backup(BACKUP, 'file:/a'))?.hasNewerEvents).toBeUndefined()
    const key = (await db.keys({ gte: 'backups/', lt: 'backups0' }).all())[0] ?? ''
    await db.put(`${key.slice(0, -1)}1`, later('backup-pinned', { backupId: BACKUP, destination: 'file:/a' }))
    expect(await catalog.backup(BACKUP, 'file:/a')).toMatchObject({ backupId: BACKUP, hasNewerEvents: true })
  })

  test('a backup whose manifest is of a newer kind is listed, without it', async () => {
    const { catalog, db } = await newerThan({}, RECORDED)
    const key = (await db.keys({ gte: 'backups/', lt: 'backups0' }).all())[0] ?? ''
    await db.put(key, String(await db.get(key)).replace('"manifestVersion":1', '"manifestVersion":2').replace('"requires":[]', '"requires":["parts"]'))
    expect(await catalog.backup(BACKUP, 'file:/a')).toMatchObject({ backupId: BACKUP, destination: 'file:/a', manifest: undefined, deletedAt: undefined })
  })

  test('a lease with an unknown event holds everything; one that only a newer release can read, or holds of another kind, refuse to be passed over', async () => {
    const widened = { [`leases/${LEASE}/00000002`]: later('lease-widened', { leaseId: LEASE }) }
    const { catalog } = await newerThan(widened, TAKEN, NARROWED)
    expect((await catalog.leases()).map(({ leaseId, payloadIds }) => [leaseId, payloadIds])).toEqual([[LEASE, undefined]])
    await catalog.append(NARROWED)
    expect((await catalog.leases()).map(({ payloadIds }) => payloadIds)).toEqual([undefined])
    await catalog.append({ type: 'lease-released', at: AT, leaseId: LEASE, why: 'told' })
    expect(await catalog.leases()).toEqual([])
    for (const entries of [
      { [`leases/${LEASE}/00000000`]: later('window-opened', { leaseId: LEASE }), [`leased/${LEASE}`]: '' },
      { 'hold-features/journal-window': '' },
    ]) {
      const { catalog } = await newerThan(entries, started(JOB))
      await expect(catalog.leases()).rejects.toMatchObject({ code: 'catalog_unavailable', retryable: false, message: expect.stringMatching(/newer release/) })
      expect((await collect(catalog.jobs())).length).toBe(1)
    }
  })
})
