import { describe, expect, it, onTestFinished } from 'vitest'
import { join } from 'node:path'
import { fsDestination } from '../../../destinations/fs/index.ts'
import type { Destination } from '../../../src/contracts/destination.ts'
import { checkTree } from '../../../src/metadata/check-tree.ts'
import { recover } from '../../../src/restore/recover.ts'
import { restoreBackup } from '../../../src/restore/restore-backup.ts'
import { rollback } from '../../../src/restore/rollback.ts'
import { RESTORE_STEPS, type RestoreStep } from '../../../src/restore/steps.ts'
import type { PostgresStore } from '../../../src/stores/postgres/index.ts'
import { lockKey } from '../../../src/stores/postgres/connection/advisory-locks.ts'
import { publish, takeBackup } from '../../restore/publish.ts'
import { dump, fillStore } from '../../restore/trees.ts'
import { deferred } from '../../support/deferred.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { alteredPool, breakConnection } from './altered-pool.ts'
import { cuttablePool } from './cuttable-pool.ts'
import { homeIn, rowsOf, schemaName, schemasLike, storeIn } from './homes.ts'
import { sharedPool } from './schemas.ts'

interface Setting {
  readonly schema: string
  readonly store: PostgresStore
  readonly destination: Destination
  readonly backupId: string
  /** What was backed up. */
  readonly original: string
  /** What the store has since. */
  readonly now: string
}

/** A store with a published backup, and changed since. */
async function setting(): Promise<Setting> {
  const schema = await schemaName()
  const destination = fsDestination({ path: join(await tempDir(), 'backups') })
  onTestFinished(() => destination.close())
  const store = await storeIn(schema)
  await fillStore(store, { seed: 1, files: 20 })
  const original = await dump(store)
  const backupId = await publish(destination, await takeBackup(store))
  await fillStore(store, { seed: 2, files: 8 })
  await store.removeUpload('upload-1')
  return { schema, store, destination, backupId, original, now: await dump(store) }
}

async function wholeIn(schema: string): Promise<string> {
  const store = await storeIn(schema, { create: false })
  expect(await checkTree(store)).toEqual([])
  return await dump(store)
}

/** Leaves a store as a process leaves it whose connections all end at the beginning of a step. */
async function cutAt({ schema, destination, backupId }: Setting, at: RestoreStep): Promise<void> {
  const { pool, cut } = await cuttablePool()
  const home = await homeIn(schema, { connection: pool })
  const restoring = restoreBackup({ target: home, destination, backupId, onProgress: ({ step }) => void (step === at && cut()) })
  await expect(restoring).rejects.toThrow()
  await home.close()
}

describe('restoreBackup into a Postgres store', () => {
  it('brings back what was backed up, keeps the ID and the engine before, and says what it did', async () => {
    const { store, schema, destination, backupId, original } = await setting()
    const before = await store.engines()
    const { storeId } = store
    const seen: RestoreStep[] = []
    const report = await restoreBackup({ target: store, destination, backupId, onProgress: ({ step }) => void (seen.at(-1) === step || seen.push(step)) })
    expect(await dump(store)).toBe(original)
    expect(await checkTree(store)).toEqual([])
    expect(store.storeId).toBe(storeId)
    expect(seen).toEqual(RESTORE_STEPS)
    expect(report).toMatchObject({ backupId, storeId, previous: before.live, warnings: [] })
    expect(await store.engines()).toEqual({ live: report.live, previous: before.live, leftovers: [] })
    expect(await store.readJournal()).toBe(undefined)
    expect(await schemasLike(await sharedPool(), schema)).toEqual([schema, `${schema}_holdfast`, `${schema}_old_${before.live}`])
    await store.createShare('goes on')
  })

  it('reads never fail, in any handle; writes are refused as retryable, and both go on after it', async () => {
    const { store, schema, destination, backupId } = await setting()
    const other = await storeIn(schema)
    const ended = new AbortController()
    const counts = { reads: 0, writes: 0, refused: 0 }
    const { root } = (await store.share('share-1')) ?? { root: 0 }
    const reader = async (handle: PostgresStore): Promise<void> => {
      for (; !ended.signal.aborted; counts.reads++) {
        expect((await handle.readDirectory(root)).entries.length).toBeGreaterThan(0)
        for await (const upload of handle.uploads()) expect(upload.startedAtMs).toBeGreaterThan(0)
        // All of one engine: before the restore two shares and the second seed, after it one and the first.
        const names = (await handle.shares()).map(({ name }) => name)
        expect([['share-1'], ['share-1', 'share-2']]).toContainEqual(names)
      }
    }
    const writer = async (handle: PostgresStore): Promise<void> => {
      for (let at = 0; !ended.signal.aborted; at++) {
        try {
          await handle.setSetting('tick', `${at}`)
          counts.writes += 1
        } catch (error) {
          expect(error).toMatchObject({ code: 'restore_in_progress', retryable: true })
          counts.refused += 1
        }
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    const busy = Promise.all([reader(store), reader(other), writer(store), writer(other)])
    try {
      await restoreBackup({ target: store, destination, backupId })
    } finally {
      ended.abort()
      await busy
    }
    expect(counts.reads).toBeGreaterThan(0)
    expect(counts.refused).toBeGreaterThan(0)
    for (const handle of [store, other]) {
      await handle.setSetting('tick', 'after')
      expect(await handle.setting('tick')).toBe('after')
    }
  })

  it('no write of another handle that was acknowledged is lost unseen: it is in the engine that rollback brings back', async () => {
    const { store, schema, destination, backupId } = await setting()
    const other = await storeIn(schema)
    const acknowledged: number[] = []
    const ended = new AbortController()
    const writer = (async () => {
      for (let at = 0; !ended.signal.aborted; at++) {
        await other.setSetting(`before-${at}`, 'x').then(
          () => acknowledged.push(at),
          () => undefined,
        )
      }
    })()
    try {
      await restoreBackup({ target: store, destination, backupId, onProgress: ({ step }) => void (step === 'side-engine' && ended.abort()) })
    } finally {
      ended.abort()
      await writer
    }
    await rollback({ target: store })
    const settings = await store.settings()
    expect(acknowledged.length).toBeGreaterThan(0)
    for (const at of acknowledged) expect(settings.has(`before-${at}`)).toBe(true)
  })

  it('survives closing and opening; rollback goes back and forth, in whichever handle', async () => {
    const { store, schema, destination, backupId, original, now } = await setting()
    await restoreBackup({ target: store, destination, backupId })
    await store.close()
    expect(await wholeIn(schema)).toBe(original)
    const [home, serving] = [await homeIn(schema), await storeIn(schema)]
    await rollback({ target: home })
    expect(await dump(serving)).toBe(now)
    await rollback({ target: serving })
    expect(await dump(serving)).toBe(original)
    expect(await wholeIn(schema)).toBe(original)
  })

  it('a second restore drops the schema from before the first', async () => {
    const { store, schema, destination, backupId } = await setting()
    const first = await restoreBackup({ target: store, destination, backupId })
    const second = await restoreBackup({ target: store, destination, backupId })
    expect(await store.engines()).toEqual({ live: second.live, previous: first.live, leftovers: [] })
    expect(await schemasLike(await sharedPool(), schema)).toEqual([schema, `${schema}_holdfast`, `${schema}_old_${first.live}`])
  })

  it('makes a store where there is none, with the ID of the backup', async () => {
    const { store, destination, backupId, original } = await setting()
    const schema = await schemaName()
    const home = await homeIn(schema)
    const report = await restoreBackup({ target: home, destination, backupId })
    expect(report).toMatchObject({ storeId: store.storeId, previous: undefined })
    expect(await wholeIn(schema)).toBe(original)
  })

  it.each([
    ['whose schema is gone', 'DROP SCHEMA % CASCADE'],
    ['whose tables are gone', 'DROP SCHEMA % CASCADE; CREATE SCHEMA %'],
    ['that lacks a table', 'DROP TABLE %.entries CASCADE'],
    ['that is of another store', `UPDATE %.holdfast_identity SET store_id = 'another'`],
  ])('replaces a live engine %s, and rolling back to that is undone', async (_, damage) => {
    const { store, schema, destination, backupId, original } = await setting()
    const { storeId } = store
    await store.close()
    await rowsOf(damage.replaceAll('%', schema))
    const home = await homeIn(schema)
    const report = await restoreBackup({ target: home, destination, backupId })
    expect(report.storeId).toBe(storeId)
    expect(await wholeIn(schema)).toBe(original)
    await expect(rollback({ target: home })).rejects.toMatchObject({ message: expect.stringContaining('is live again') as string })
    expect(await wholeIn(schema)).toBe(original)
  })

  it('refuses to fill a store that is populated, and leaves it as it is', async () => {
    const { store, destination, backupId, now } = await setting()
    await expect(store.restore(destination.open(backupId, 'payload'))).rejects.toMatchObject({ code: 'restore_destination_not_empty' })
    expect(await dump(store)).toBe(now)
  })

  it('through two handles at once: the second gets restore_in_progress at once, and the first ends well', async () => {
    const { store, schema, destination, backupId, original } = await setting()
    const other = await storeIn(schema)
    const refused: unknown[] = []
    const seconds: Promise<unknown>[] = []
    const tried = new Set<RestoreStep>()
    await restoreBackup({
      target: store,
      destination,
      backupId,
      onProgress({ step }) {
        if (tried.has(step) || !['side-engine', 'restore', 'check', 'seal'].includes(step)) return
        tried.add(step)
        for (const second of [restoreBackup({ target: other, destination, backupId }), rollback({ target: other })]) seconds.push(second.catch((error: unknown) => refused.push(error)))
      },
    })
    await Promise.all(seconds)
    expect(refused.length).toBeGreaterThan(0)
    for (const error of refused) expect(error).toMatchObject({ code: expect.stringMatching(/^(restore_in_progress|rollback_unavailable)$/) as string })
    expect(await dump(store)).toBe(original)
    expect((await store.engines()).leftovers).toEqual([])
  })

  it('a backup that runs holds the swap up: store_not_drained in time, nothing changed, and it goes when that has ended', async () => {
    const { schema, destination, backupId, original, now } = await setting()
    const store = await storeIn(schema, { swapTimeoutMs: 500 })
    const before = await store.engines()
    const [paused, started] = [deferred(), deferred()]
    const running = store.backup({
      write: async () => {
        started.resolve()
        await paused.promise
      },
      finish: async () => {},
    })
    await started.promise
    await expect(restoreBackup({ target: store, destination, backupId })).rejects.toMatchObject({ code: 'store_not_drained', retryable: true })
    expect(await store.engines()).toEqual(before)
    expect(await dump(store)).toBe(now)
    await store.setSetting('seed', '2')
    paused.resolve()
    await (await running).close()
    await restoreBackup({ target: store, destination, backupId })
    expect(await dump(store)).toBe(original)
  })

  it('writers of another process that do not end time the restore out: store_not_drained, nothing left, all resumed', async () => {
    const { store, schema, destination, backupId, now } = await setting()
    const client = await (await sharedPool()).connect()
    await client.query('BEGIN')
    await client.query(`SELECT pg_advisory_xact_lock_shared(${lockKey('writes', schema).join(', ')})`)
    await expect(restoreBackup({ target: store, destination, backupId, drainTimeoutMs: 200 })).rejects.toMatchObject({ code: 'store_not_drained' })
    await client.query('ROLLBACK')
    client.release()
    expect((await store.engines()).leftovers).toEqual([])
    expect(await dump(store)).toBe(now)
    await store.setSetting('writes', 'go on')
  })
})

describe('recovery of a Postgres store at open', () => {
  it.each(['side-engine', 'restore', 'check', 'seal', 'drain', 'journal', 'swap'] as const)('undoes a restore whose connections ended at its step %s, and removes its engine', async (step) => {
    const given = await setting()
    const before = await given.store.engines()
    await cutAt(given, step)
    expect(await wholeIn(given.schema)).toBe(given.now)
    expect(await given.store.engines()).toEqual(before)
    expect(await schemasLike(await sharedPool(), given.schema)).toEqual([given.schema, `${given.schema}_holdfast`])
    await given.store.setSetting('writes', 'go on')
  })

  it('completes a restore that was swapped and serves', async () => {
    const given = await setting()
    await cutAt(given, 'check-live')
    expect(await given.store.readJournal()).not.toBe(undefined)
    const store = await storeIn(given.schema, { create: false })
    expect(await dump(store)).toBe(given.original)
    expect(await store.readJournal()).toBe(undefined)
    await rollback({ target: store })
    expect(await dump(store)).toBe(given.now)
  })

  it('undoes a restore that was swapped and does not serve, and keeps both engines', async () => {
    const given = await setting()
    const { live: from } = await given.store.engines()
    await cutAt(given, 'check-live')
    const { live: to } = await given.store.engines()
    await rowsOf(`DROP TABLE ${given.schema}.settings CASCADE`)
    const store = await storeIn(given.schema, { create: false })
    expect(await dump(store)).toBe(given.now)
    expect(await store.engines()).toEqual({ live: from, previous: to, leftovers: [] })
    expect(await store.readJournal()).toBe(undefined)
  })

  it('leaves a restore that was swapped as it is when a connection breaks in the check, and the next one completes it', async () => {
    const given = await setting()
    await cutAt(given, 'check-live')
    const { live } = await given.store.engines()
    const breaking = alteredPool(await sharedPool(), /^SELECT .*"settings"/, breakConnection)
    await expect(homeIn(given.schema, { connection: breaking })).rejects.toMatchObject({ code: 'store_unavailable', retryable: true })
    expect((await given.store.engines()).live).toBe(live)
    expect(await given.store.readJournal()).not.toBe(undefined)
    expect(await wholeIn(given.schema)).toBe(given.original)
    expect(await given.store.readJournal()).toBe(undefined)
  })

  it('through a handle that cannot open the engine for now is done by the next one', async () => {
    const given = await setting()
    let isBreaking = false
    const connection = alteredPool(await sharedPool(), /^BEGIN .*lock_timeout/, (run, client) => (isBreaking ? breakConnection(run, client) : run()))
    const store = await storeIn(given.schema, { connection })
    await cutAt(given, 'check-live')
    isBreaking = true
    await expect(recover(store)).rejects.toMatchObject({ code: 'store_unavailable', retryable: true })
    isBreaking = false
    expect(await recover(store)).toMatchObject({ outcome: 'completed' })
    expect(await dump(store)).toBe(given.original)
  })

  it('leaves the restore of another handle alone while that is at it', async () => {
    const { store, schema, destination, backupId, original, now } = await setting()
    const opened: Promise<string>[] = []
    await restoreBackup({
      target: store,
      destination,
      backupId,
      onProgress({ step, bytes }) {
        if (step === 'check' && bytes === 0 && opened.length === 0) opened.push(storeIn(schema).then((other) => dump(other)))
      },
    })
    expect([original, now]).toContain(await opened[0])
    expect(await dump(store)).toBe(original)
    expect((await store.engines()).leftovers).toEqual([])
  })
})
