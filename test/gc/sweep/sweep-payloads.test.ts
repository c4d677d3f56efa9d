import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { runBackup } from '../../../src/backup/run-backup.ts'
import type { Holds } from '../../../src/gc/holds/holds.ts'
import { sweepPayloads, type SweepPayloadsReport } from '../../../src/gc/sweep/sweep-payloads.ts'
import { altered } from '../../support/altered.ts'
import { FakeStore } from '../../support/fake-store.ts'
import { newHolds } from '../holds.ts'
import { openFilesIn } from '../holds/open-files.ts'
import { PayloadMap, referencesTo } from '../payload-map.ts'

const HOUR_MS = 3_600_000

async function sweep(holds: Holds, payloads: PayloadMap, { live = [], minAgeMs = HOUR_MS, ...options }: { readonly live?: readonly string[]; readonly minAgeMs?: number; readonly dryRun?: boolean; readonly signal?: AbortSignal } = {}): Promise<SweepPayloadsReport> {
  return await sweepPayloads({ payloads, stores: [referencesTo(() => live)], holds, minAgeMs, ...options })
}

/** Resolves once a lease is there. */
async function leaseOf(holds: Holds): Promise<void> {
  while ((await holds.leases.catalog.leases()).length === 0) await setImmediate()
}

describe('sweepPayloads()', () => {
  test('marks first, and deletes when the minimum age has passed since', async () => {
    const { holds, pass } = await newHolds()
    const payloads = new PayloadMap(['a', 'b', 'c'])
    expect(await sweep(holds, payloads, { live: ['b'] })).toMatchObject({ waiting: { payloads: 2, bytes: 20 }, live: { payloads: 1 }, deleted: { payloads: 0 } })
    pass(HOUR_MS - 1)
    expect(await sweep(holds, payloads, { live: ['b'] })).toMatchObject({ deleted: { payloads: 0 } })
    pass(1)
    expect(await sweep(holds, payloads, { live: ['b'] })).toMatchObject({ deleted: { payloads: 2, bytes: 20 }, waiting: { payloads: 0 } })
    expect(payloads.ids).toEqual(['b'])
  })

  test('begins the wait again for a payload that was needed or renewed meanwhile', async () => {
    const { holds, pass } = await newHolds()
    const payloads = new PayloadMap(['a', 'b'])
    await sweep(holds, payloads)
    payloads.put('a')
    await sweep(holds, payloads, { live: ['b'] })
    pass(HOUR_MS)
    await sweep(holds, payloads)
    expect(payloads.ids).toEqual(['b'])
    pass(HOUR_MS)
    await sweep(holds, payloads)
    expect(payloads.ids).toEqual([])
  })

  test('goes by marks, not by what the payload store says of ages, which only keep', async () => {
    const { holds, pass } = await newHolds()
    const payloads = new PayloadMap()
    payloads.put('ancient', 315_360_000_000)
    payloads.put('future', -315_360_000_000)
    payloads.put('young', HOUR_MS - 1)
    await sweep(holds, payloads)
    expect(payloads.ids).toHaveLength(3)
    pass(HOUR_MS)
    await sweep(holds, payloads)
    expect(payloads.ids).toEqual(['young'])
  })

  test('keeps what was marked by the same sweep and is referred to in time, however long the sweep takes', async () => {
    const { holds, pass } = await newHolds()
    // More marks than are read at once.
    const payloads = new PayloadMap(Array.from({ length: 7000 }, (_, index) => `p${String(index).padStart(5, '0')}-${'x'.repeat(190)}`))
    payloads.pageSize = 1000
    const live = new Set<string>()
    await sweep(holds, payloads)
    pass(HOUR_MS)
    payloads.put('written')
    const slow = altered(payloads, {
      deleteUnchanged: async (batch) => {
        live.add('written')
        pass(HOUR_MS)
        return await payloads.deleteUnchanged(batch)
      },
    })
    await sweepPayloads({ payloads: slow, stores: [referencesTo(() => live)], holds, minAgeMs: HOUR_MS })
    expect(payloads.ids).toEqual(['written'])
  })

  test('changes nothing in a dry run, and says what would be', async () => {
    const { holds, catalog, pass } = await newHolds()
    const payloads = new PayloadMap(['a', 'b'])
    expect(await sweep(holds, payloads, { dryRun: true })).toMatchObject({ dryRun: true, waiting: { payloads: 2 }, deleted: { payloads: 0 } })
    expect(await sweep(holds, payloads, { dryRun: true, minAgeMs: 0, live: ['b'] })).toMatchObject({ deleted: { payloads: 1 } })
    await sweep(holds, payloads)
    pass(HOUR_MS)
    const would = await sweep(holds, payloads, { dryRun: true })
    expect([would.deleted, payloads.ids.length]).toEqual([{ payloads: 2, bytes: 20 }, 2])
    expect(await catalog.holdGeneration()).toBe(0)
    expect((await sweep(holds, payloads)).deleted).toEqual(would.deleted)
  })

  test('decides nothing while a lease holds everything, and says which', async () => {
    const { holds } = await newHolds()
    const payloads = new PayloadMap(['a'])
    const lease = await holds.leases.protect({ purpose: 'restore', storeId: 'store' })
    expect(await sweep(holds, payloads, { minAgeMs: 0 })).toMatchObject({ heldOff: [{ leaseId: lease.leaseId, purpose: 'restore' }], listed: { payloads: 0 } })
    await lease.release('handed-over')
    await sweep(holds, payloads, { minAgeMs: 0 })
    expect(payloads.ids).toEqual([])
  })

  test('looks at holds again before each deletion: a lease that is taken between two of them ends the sweep', async () => {
    const { holds } = await newHolds()
    const ids = Array.from({ length: 2500 }, (_, index) => `p${String(index).padStart(4, '0')}`)
    const payloads = new PayloadMap(ids)
    payloads.pageSize = 1000
    let lease: Promise<unknown> | undefined
    const watched = altered(payloads, {
      deleteUnchanged: async (batch) => {
        lease ??= holds.leases.protect({ purpose: 'backup' })
        await leaseOf(holds)
        return await payloads.deleteUnchanged(batch)
      },
    })
    expect(await sweep(holds, watched, { minAgeMs: 0 })).toMatchObject({ deleted: { payloads: 1000 }, heldOff: [{ purpose: 'backup' }] })
    await lease
    expect(payloads.ids).toEqual(ids.slice(1000))
  })

  test('looks at the store again when holds have changed: what it refers to by then is kept', async () => {
    const { holds, catalog, destination } = await newHolds()
    const ids = Array.from({ length: 1500 }, (_, index) => `p${String(index).padStart(4, '0')}`)
    const payloads = new PayloadMap(ids)
    payloads.pageSize = 1000
    const live = new Set<string>()
    let backup: Promise<unknown> | undefined
    const watched = altered(payloads, {
      deleteUnchanged: async (batch) => {
        const deleted = await payloads.deleteUnchanged(batch)
        backup ??= runBackup({ store: new FakeStore([['x', 'p1499']]), destination, catalog, holds })
        live.add('p1498')
        await leaseOf(holds)
        return deleted
      },
    })
    await sweepPayloads({ payloads: watched, stores: [referencesTo(() => live)], holds, minAgeMs: 0 })
    await backup
    await sweepPayloads({ payloads, stores: [referencesTo(() => live)], holds, minAgeMs: 0 })
    expect(payloads.ids).toEqual(['p1498', 'p1499'])
  })

  test('can be stopped while it marks, and goes on from there', async () => {
    const { holds, pass } = await newHolds()
    const payloads = new PayloadMap(['a', 'b', 'c', 'd', 'e', 'f'])
    await sweep(holds, payloads)
    pass(HOUR_MS / 2)
    payloads.put('b')
    const controller = new AbortController()
    const stopping = altered(payloads, {
      async *list(options) {
        for await (const page of payloads.list({ after: options?.after })) {
          if ((page[0]?.payloadId ?? '') >= 'c') controller.abort(new Error('enough'))
          yield page
        }
      },
    })
    await expect(sweep(holds, stopping, { signal: controller.signal })).rejects.toThrow('enough')
    pass(HOUR_MS / 2)
    const report = await sweep(holds, payloads)
    expect(report.listed.payloads).toBe(2)
    expect(payloads.ids).toEqual(['b'])
    pass(HOUR_MS)
    expect((await sweep(holds, payloads)).listed.payloads).toBe(1)
    expect(payloads.ids).toEqual([])
  })

  test('deletes payloads whatever their IDs begin and end with', async () => {
    const { holds, pass } = await newHolds()
    const payloads = new PayloadMap(['{', '{}', '{"version":1}', '"', '}', '~}'])
    await sweep(holds, payloads)
    pass(HOUR_MS)
    await sweep(holds, payloads)
    expect(payloads.ids).toEqual([])
  })

  test('deletes nothing by marks that are out of order, and goes on when they are made anew', async () => {
    const { holds, pass, directory } = await newHolds()
    const payloads = new PayloadMap(['a', 'b', 'c'])
    writeFileSync(join(directory, 'marks'), 'b v2 10 0\na v1 10 0\n{"version":1,"epoch":"test","after":"b"}\n')
    pass(HOUR_MS)
    await expect(sweep(holds, payloads, { live: ['a'] })).rejects.toMatchObject({ code: 'internal' })
    expect(payloads.ids).toEqual(['a', 'b', 'c'])
    await sweep(holds, payloads, { live: ['a'] })
    pass(HOUR_MS)
    await sweep(holds, payloads, { live: ['a'] })
    expect(payloads.ids).toEqual(['a'])
  })

  test.each(['gives IDs out of order at once', 'cannot be closed'])('leaves nothing open when a store %s', async (what) => {
    const { holds, directory } = await newHolds()
    let isOpen = false
    const store = {
      storeId: 'store',
      async *payloadIds() {
        isOpen = true
        try {
          for (let index = 0; index < 3000; index++) yield what === 'cannot be closed' ? `p${String(index).padStart(4, '0')}` : 'same'
        } finally {
          isOpen = false
          // eslint-disable-next-line no-unsafe-finally -- as a connection that broke does
          if (what === 'cannot be closed') throw new Error('Broken off')
        }
      },
    }
    await expect(sweepPayloads({ payloads: new PayloadMap(['a']), stores: [store], holds, minAgeMs: 0 })).rejects.toThrow(/Broken off|comes after/)
    expect([isOpen, openFilesIn(join(directory, 'union'))]).toEqual([false, []])
  })

  test('refuses a payload store that lists a malformed payload ID', async () => {
    const { holds } = await newHolds()
    await expect(sweep(holds, new PayloadMap(['two words']))).rejects.toMatchObject({ code: 'internal' })
  })

  test('refuses a minimum age that is negative or not a number', async () => {
    const { holds } = await newHolds()
    for (const minAgeMs of [-1, Number.NaN]) await expect(sweep(holds, new PayloadMap(), { minAgeMs })).rejects.toThrow(RangeError)
  })
})
