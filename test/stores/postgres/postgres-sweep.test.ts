/** Sweeps of the payloads that Postgres stores refer to, beside everything that may go on in them. */
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it, test } from 'vitest'
import { deleteBackup } from '../../../src/repository/delete-backups.ts'
import { runBackup } from '../../../src/backup/run-backup.ts'
import { isHoldfastError } from '../../../src/errors/errors.ts'
import { sweepPayloads, type SweepPayloadsReport } from '../../../src/gc/sweep/sweep-payloads.ts'
import { decodePayloadIds } from '../../../src/payload-ids/payload-id-set.ts'
import { restoreBackup } from '../../../src/restore/restore-backup.ts'
import { rollback } from '../../../src/restore/rollback.ts'
import type { PostgresStore } from '../../../src/stores/postgres/index.ts'
import { newHolds, type HoldsPlace } from '../../gc/holds.ts'
import { PayloadMap } from '../../gc/payload-map.ts'
import { altered } from '../../support/altered.ts'
import { collect } from '../../support/collect.ts'
import { randomFrom, runs, seed } from '../../support/seed.ts'
import { cuttablePool } from './cuttable-pool.ts'
import { schemaName, storeIn } from './homes.ts'

const MIN_AGE_MS = 1000
const TURNS = runs(6)

interface Setting extends HoldsPlace {
  readonly schema: string
  readonly store: PostgresStore
  readonly root: number
  readonly payloads: PayloadMap
}

async function setting(): Promise<Setting> {
  const place = await newHolds()
  const schema = await schemaName()
  const store = await storeIn(schema)
  const { root } = await store.createShare('s')
  return { ...place, schema, store, root, payloads: new PayloadMap() }
}

/** Writes, or renews, the payload, then refers to it, as every writer must. */
async function write({ store, root, payloads }: Pick<Setting, 'store' | 'root' | 'payloads'>, name: string, payloadId: string): Promise<void> {
  payloads.put(payloadId)
  await store.create({ parent: root, name }, { type: 'file', size: 1, content: { payloadId } })
}

async function sweep({ store, payloads, holds }: Setting, stores = [store]): Promise<SweepPayloadsReport> {
  return await sweepPayloads({ payloads, stores, holds, minAgeMs: 0 })
}

describe('sweepPayloads() with a Postgres store', () => {
  it('keeps what the live schema, the one kept for rollback and a backup refer to, blocks and uploads too, and deletes the rest', async () => {
    const it = await setting()
    const { store, root, payloads, holds, catalog, destination } = it
    await write(it, 'old', 'old')
    const { backupId } = await runBackup({ store, destination, catalog, holds })
    await store.unlink({ parent: root, name: 'old' })
    for (const payloadId of ['block-1', 'block-2', 'uploaded', 'garbage']) payloads.put(payloadId)
    await store.create({ parent: root, name: 'blocks' }, { type: 'file', size: 2, content: { blocks: ['block-1', 'block-2'].map((payloadId) => ({ payloadId, offset: 0, bytes: 1 })) } })
    await store.putUpload({ uploadId: 'u', parent: root, name: 'up', startedAtMs: 0, blocks: [{ payloadId: 'uploaded', offset: 0, bytes: 1 }] })
    expect(await sweep(it)).toMatchObject({ live: { payloads: 3 }, held: { payloads: 1 }, deleted: { payloads: 1 } })
    await restoreBackup({ target: store, destination, backupId, catalog, holds })
    await deleteBackup({ destination, backupId, catalog, force: true })
    expect(await sweep(it)).toMatchObject({ live: { payloads: 4 }, deleted: { payloads: 0 } })
    await rollback({ target: store, catalog, holds })
    expect(await collect(store.payloadIds())).toEqual(['block-1', 'block-2', 'uploaded'])
    expect(await sweep(it)).toMatchObject({ live: { payloads: 4 }, deleted: { payloads: 0 } })
    expect(payloads.ids).toEqual(['block-1', 'block-2', 'old', 'uploaded'])
  })

  it('goes by what another process has restored, and goes on serving it', async () => {
    const it = await setting()
    const { store, schema, root, payloads, holds, catalog, destination } = it
    await write(it, 'old', 'old')
    const { backupId } = await runBackup({ store, destination, catalog, holds })
    await store.unlink({ parent: root, name: 'old' })
    await write(it, 'new', 'new')
    const other = await storeIn(schema)
    for (const expected of [['old'], ['new'], ['old']]) {
      if (expected[0] === 'new' || (await other.engines()).previous !== undefined) await rollback({ target: other })
      else await restoreBackup({ target: other, destination, backupId })
      await sweep(it)
      expect(await collect(store.retainedPayloadIds?.() ?? store.payloadIds())).toEqual(['new', 'old'])
      expect(await collect(store.payloadIds())).toEqual(expected)
      await write(it, `more-${expected[0]}`, 'old')
      await store.unlink({ parent: root, name: `more-${expected[0]}` })
    }
    expect(payloads.ids).toEqual(['new', 'old'])
  })

  it('keeps what either engine refers to while another process restores', async () => {
    const it = await setting()
    const { store, schema, root, payloads, destination, catalog, holds } = it
    await write(it, 'old', 'old')
    const { backupId } = await runBackup({ store, destination, catalog, holds })
    await store.unlink({ parent: root, name: 'old' })
    await write(it, 'new', 'new')
    const other = await storeIn(schema)
    const over = new AbortController()
    const restored = restoreBackup({ target: other, destination, backupId }).finally(() => over.abort())
    while (!over.signal.aborted) await sweep(it)
    await restored
    await sweep(it)
    expect(payloads.ids).toEqual(['new', 'old'])
  })

  it.each(['at its first step', 'in the middle'])('deletes nothing and rejects with hold_unavailable when the connection is cut %s', async (when) => {
    const it = await setting()
    const { schema, payloads, holds } = it
    const { pool, cut } = await cuttablePool()
    const store = await storeIn(schema, { connection: pool })
    for (let index = 0; index < 3000; index++) payloads.put(`p${String(index).padStart(4, '0')}`)
    await write({ ...it, store }, 'last', 'p2999')
    const content = { blocks: Array.from({ length: 2500 }, (_, index) => ({ payloadId: `p${String(index).padStart(4, '0')}`, offset: 0, bytes: 1 })) }
    await store.create({ parent: it.root, name: 'blocks' }, { type: 'file', size: 2500, content })
    const all = payloads.ids
    const watched = altered(payloads, {
      async *list(options) {
        if (when === 'at its first step') cut()
        for await (const page of payloads.list(options)) {
          yield page
          if ((page[0]?.payloadId ?? '') >= 'p1500') cut()
        }
      },
    })
    const cutStore = when === 'in the middle' ? store : altered(store, { retainedPayloadIds: () => (cut(), store.retainedPayloadIds?.() ?? store.payloadIds()) })
    await expect(sweepPayloads({ payloads: watched, stores: [cutStore], holds, minAgeMs: 0 })).rejects.toMatchObject({ code: 'hold_unavailable', retryable: true })
    expect(payloads.ids).toEqual(all)
    expect(await holds.leases.catalog.sweeps()).toEqual([])
    await expect(sweep(it)).resolves.toMatchObject({ live: { payloads: 2501 }, deleted: { payloads: 499 } })
  })
})

test('writers, backups, restores, rollbacks, deletions and sweeps of one Postgres store at once: nothing needed is deleted, and what nothing needs is', async () => {
  const random = randomFrom(seed)
  const it = await setting()
  const { store, schema, root, payloads, holds, catalog, destination, pass } = it
  const other = await storeIn(schema)
  const below = (count: number): number => Math.floor(random() * count)
  const counts: Record<string, number> = {}
  const count = (what: string): void => void (counts[what] = (counts[what] ?? 0) + 1)
  /** A refusal because of another actor is not a fault. */
  const attempt = async (what: string, action: () => Promise<unknown>): Promise<void> => {
    try {
      await action()
      count(what)
    } catch (error) {
      if (!isHoldfastError(error) || error.code === 'internal') throw error
      count(`${what}: ${error.code}`)
    }
  }
  const over = new AbortController()
  let serial = 0
  let writing = 0
  const writer = async (name: string): Promise<void> => {
    while (!over.signal.aborted) {
      const file = `${name}${below(4)}`
      await attempt('unlink', () => (below(2) === 0 ? store : other).unlink({ parent: root, name: file }))
      writing += 1
      await attempt('write', () => write({ ...it, store: below(2) === 0 ? store : other }, file, below(2) === 0 ? `p${below(12)}` : `once-${++serial}`))
      writing -= 1
      // The time that must pass before a deletion passes while no actor is between writing a payload and referring to it.
      if (writing === 0) pass(MIN_AGE_MS)
      await delay(below(20))
    }
  }
  const listed = async (): Promise<readonly string[]> => await collect(destination.list())
  const backups = async (): Promise<void> => {
    for (let turn = 0; turn < 2 * TURNS; turn++) {
      await delay(below(300))
      if (below(3) > 0 || (await listed()).length < 2) await attempt('backup', () => runBackup({ store, destination, catalog, holds }))
      else await attempt('delete', async () => await deleteBackup({ destination, backupId: (await listed())[0] ?? '', catalog }))
    }
  }
  const restores = async (): Promise<void> => {
    for (let turn = 0; turn < TURNS; turn++) {
      await delay(below(300))
      const target = below(2) === 0 ? store : other
      const backupId = (await listed()).at(-1 - below(2))
      if (backupId === undefined || turn % 2 === 1) await attempt('rollback', () => rollback({ target, catalog, holds }))
      else await attempt('restore', () => restoreBackup({ target, destination, backupId, catalog, holds }))
    }
  }
  const sweeps = async (): Promise<void> => {
    for (; !over.signal.aborted; await delay(below(20))) {
      await attempt('sweep', async () => {
        const { heldOff, deleted } = await sweepPayloads({ payloads, stores: [store], holds, minAgeMs: MIN_AGE_MS })
        if (heldOff.length > 0) count('sweep held off')
        if (deleted.payloads > 0) count('sweep that deletes')
      })
    }
  }
  await runBackup({ store, destination, catalog, holds })
  /** On a slow machine every sweep may have been held off until here; beside the writers one deletes then. */
  const untilOneDeletes = async (): Promise<void> => {
    while (!over.signal.aborted && counts['sweep that deletes'] === undefined) await delay(20)
  }
  const others = Promise.all([backups(), restores()]).then(untilOneDeletes).finally(() => over.abort())
  const sweeping = sweeps().finally(() => over.abort())
  await Promise.all([others, writer('a'), writer('b'), sweeping])
  const needed = new Set(await collect(store.retainedPayloadIds?.() ?? store.payloadIds()))
  for (const backupId of await listed()) for (const payloadId of await collect(decodePayloadIds(destination.open(backupId, 'payload-ids')))) needed.add(payloadId)
  const message = `seed ${seed}: ${JSON.stringify(counts)}`
  console.log(message)
  expect(counts['sweep that deletes'], message).toBeGreaterThan(0)
  expect([...needed].filter((payloadId) => !payloads.payloads.has(payloadId)), message).toEqual([])
  payloads.put('garbage')
  for (let round = 0; round < 3; round++) {
    await sweepPayloads({ payloads, stores: [store], holds, minAgeMs: MIN_AGE_MS })
    pass(MIN_AGE_MS)
  }
  expect(payloads.ids, message).toEqual([...needed].toSorted())
})
