import { rmSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { CatalogEvent } from '../../../src/contracts/catalog.ts'
import { type JobOwner, thisProcess } from '../../../src/util/job-owner.ts'
import { CatalogUnavailableError } from '../../../src/errors/errors.ts'
import { Leases } from '../../../src/gc/leases/leases.ts'
import { PayloadIdSetBuilder } from '../../../src/payload-ids/payload-id-set.ts'
import { newPlace } from '../../backup/backups.ts'
import { altered } from '../../support/altered.ts'
import { collectHeld } from '../holds/collect-held.ts'
import { newHolds } from '../holds.ts'

const AT = '2026-11-20T10:00:00.000Z'
const LEASE = '01HZZZZZZZ0000000000000009'

describe('protect()', () => {
  test('is durable when it resolves, and raises the generation', async () => {
    const { catalog, holds } = await newHolds()
    const before = await catalog.holdGeneration()
    const lease = await holds.leases.protect({ purpose: 'backup', storeId: 'store' })
    expect(await catalog.leases()).toMatchObject([{ leaseId: lease.leaseId, purpose: 'backup', storeId: 'store', payloadIds: undefined, owner: thisProcess() }])
    expect(await catalog.holdGeneration()).toBeGreaterThan(before)
    await lease.release('handed-over')
    await lease.release('handed-over')
    expect(await catalog.leases()).toEqual([])
  })

  test('waits until the running sweep has answered', async () => {
    const { holds } = await newHolds()
    const session = await holds.leases.beginSweep()
    await session.generation()
    let isTaken = false
    const lease = holds.leases.protect({ purpose: 'backup' }).then((taken) => {
      isTaken = true
      return taken
    })
    while ((await holds.leases.catalog.leases()).length === 0) await delay(1)
    await delay(60)
    expect(isTaken).toBe(false)
    await session.generation()
    await (await lease).release('handed-over')
    await session.end()
  })

  test('fails with hold_unavailable when the sweep does not answer in time, and leaves no lease', async () => {
    const { holds, catalog, pass } = await newHolds({ acknowledgeTimeoutMs: 100 })
    const session = await holds.leases.beginSweep()
    const taken = holds.leases.protect({ purpose: 'backup' })
    const failed = expect(taken).rejects.toMatchObject({ code: 'hold_unavailable', retryable: true, details: { sweepIds: [session.sweepId] } })
    while ((await holds.leases.catalog.leases()).length === 0) await delay(1)
    pass(101)
    await failed
    expect(await catalog.leases()).toEqual([])
  })

  test('does not wait for a sweep whose process is gone', async () => {
    const { holds, catalog } = await newHolds()
    await catalog.append({ type: 'sweep-started', at: AT, sweepId: LEASE, owner: { ...thisProcess(), pid: 999_999_999 } })
    await (await holds.leases.protect({ purpose: 'backup' })).release('failed')
  })

  test('fails when the catalog cannot record it, and says so when it cannot be taken back either', async () => {
    const { catalog } = await newPlace()
    const broken = altered(catalog, { append: () => Promise.reject(new CatalogUnavailableError('The disk is gone')) })
    await expect(new Leases({ catalog: broken }).protect({ purpose: 'backup' })).rejects.toMatchObject({ code: 'catalog_unavailable' })
  })

  test('ends with the reason of its signal, and leaves no lease', async () => {
    const { holds, catalog } = await newHolds()
    await holds.leases.beginSweep()
    const controller = new AbortController()
    const taken = holds.leases.protect({ purpose: 'backup', signal: controller.signal })
    const failed = expect(taken).rejects.toThrow('enough')
    while ((await holds.leases.catalog.leases()).length === 0) await delay(1)
    controller.abort(new Error('enough'))
    await failed
    expect(await catalog.leases()).toEqual([])
  })
})

describe('a narrowed lease', () => {
  test('holds its set alone, and everything again when the set is lost', async () => {
    const { holds, catalog, directory } = await newHolds()
    const lease = await holds.leases.protect({ purpose: 'backup' })
    expect(await holds.find()).toMatchObject({ everything: [{ leaseId: lease.leaseId }], sources: [] })
    const builder = new PayloadIdSetBuilder()
    for (const payloadId of ['p1', 'p2']) builder.add(payloadId)
    const payloadIds = await builder.finish()
    await lease.narrow(payloadIds)
    const found = await holds.find()
    expect(found.everything).toEqual([])
    expect(found.holders).toMatchObject([{ kind: 'lease', payloadIds: { count: 2, sha256: payloadIds.digest } }])
    await using united = await holds.unite(found.sources)
    expect(await collectHeld(united)).toEqual(['p1', 'p2'])
    rmSync(`${directory}/payload-ids`, { recursive: true })
    expect((await holds.find()).everything).toMatchObject([{ leaseId: lease.leaseId }])
    await lease.release('handed-over')
    expect((await holds.find()).holders).toEqual([])
    expect(await catalog.leases()).toEqual([])
  })
})

describe('reconcile()', () => {
  const taken = (owner: JobOwner = { ...thisProcess(), pid: 999_999_999 }): CatalogEvent => ({ type: 'lease-taken', at: AT, leaseId: LEASE, purpose: 'backup', owner })

  test('releases the lease of a process that is gone when that was seen twice, long enough apart', async () => {
    const { holds, catalog, pass } = await newHolds()
    await catalog.append(taken())
    expect(await holds.leases.reconcile()).toMatchObject({ released: [], suspected: [{ leaseId: LEASE }] })
    expect(await holds.leases.reconcile()).toMatchObject({ released: [], suspected: [{ leaseId: LEASE }] })
    pass(60_000)
    expect(await holds.leases.reconcile()).toMatchObject({ released: [{ leaseId: LEASE }], suspected: [] })
    expect(await catalog.leases()).toEqual([])
  })

  test('begins again when the machine was started anew in between', async () => {
    const { holds, catalog } = await newHolds()
    await catalog.append(taken(), { type: 'lease-suspected', at: AT, leaseId: LEASE, epoch: 'another', steadyMs: 0 })
    expect(await holds.leases.reconcile()).toMatchObject({ released: [], suspected: [{ leaseId: LEASE }] })
  })

  test.each([
    ['of this process, under way', undefined],
    ['of another machine', { ...thisProcess(), host: 'elsewhere' }],
  ])('never releases a lease %s, however much time passes', async (_, owner) => {
    const { holds, catalog, pass } = await newHolds()
    if (owner === undefined) await holds.leases.protect({ purpose: 'backup' })
    else await catalog.append(taken(owner))
    for (let day = 0; day < 7; day++) {
      const { released, suspected, unproven } = await holds.leases.reconcile()
      expect([released, suspected, unproven.length]).toEqual([[], [], owner === undefined ? 0 : 1])
      pass(24 * 60 * 60 * 1000)
    }
    expect(await catalog.leases()).toHaveLength(1)
  })
})

describe('releaseUnproven()', () => {
  const of = (owner: JobOwner): CatalogEvent => ({ type: 'lease-taken', at: AT, leaseId: LEASE, purpose: 'restore', owner })

  test('releases the lease of a machine that is gone when an operator says so', async () => {
    const { holds, catalog } = await newHolds()
    await catalog.append(of({ ...thisProcess(), host: 'elsewhere' }))
    expect(await holds.leases.releaseUnproven(LEASE)).toBe(true)
    expect(await holds.leases.releaseUnproven(LEASE)).toBe(false)
    expect(await catalog.leases()).toEqual([])
  })

  test('refuses for a lease whose owner is at work', async () => {
    const { holds, catalog } = await newHolds()
    const { leaseId } = await holds.leases.protect({ purpose: 'backup' })
    await expect(holds.leases.releaseUnproven(leaseId)).rejects.toMatchObject({ code: 'invalid_argument' })
    expect(await catalog.leases()).toHaveLength(1)
  })
})

test('an abandoned lease stays until nothing that was sent can be under way, then the next look releases it', async () => {
  const { holds, catalog, pass } = await newHolds()
  const lease = await holds.leases.protect({ purpose: 'backup' })
  lease.abandon()
  expect(await holds.leases.reconcile()).toMatchObject({ released: [], suspected: [{ leaseId: lease.leaseId }] })
  pass(60_000)
  expect(await holds.leases.reconcile()).toMatchObject({ released: [{ leaseId: lease.leaseId }] })
  expect(await catalog.leases()).toEqual([])
})

test('of two sweeps that begin at the same time not both go on', async () => {
  const { holds } = await newHolds()
  const begun = await Promise.allSettled([holds.leases.beginSweep(), holds.leases.beginSweep()])
  expect(begun.filter(({ status }) => status === 'fulfilled').length).toBeLessThan(2)
  for (const session of begun) if (session.status === 'fulfilled') await session.value.end()
  await (await holds.leases.beginSweep()).end()
})

test('a second sweep of the same holds is refused while one is running', async () => {
  const { holds } = await newHolds()
  const session = await holds.leases.beginSweep()
  await expect(holds.leases.beginSweep()).rejects.toMatchObject({ code: 'sweep_already_running', details: { sweepId: session.sweepId } })
  await session.end()
  await (await holds.leases.beginSweep()).end()
})
