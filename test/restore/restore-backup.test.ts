import { existsSync, readdirSync } from 'node:fs'
import { readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { describe, expect, it, onTestFinished } from 'vitest'
import { fsDestination } from '../../destinations/fs/index.ts'
import { newUlid } from '../../src/util/ulid.ts'
import type { Destination } from '../../src/contracts/destination.ts'
import { nodeFiles } from '../../src/util/files.ts'
import { type EngineHome, LiveMetadataStore } from '../../src/metadata/live-metadata-store.ts'
import type { MetadataStore } from '../../src/contracts/metadata-store.ts'
import { type RestoreBackupOptions, restoreBackup } from '../../src/restore/restore-backup.ts'
import { rollback } from '../../src/restore/rollback.ts'
import { RESTORE_STEPS, type RestoreStep } from '../../src/restore/steps.ts'
import { levelBackupable } from '../../src/stores/level/engine/level-backupable.ts'
import { type LevelEngines, levelEngines } from '../../src/stores/level/home/level-engines.ts'
import { LevelMetadataStore, type LevelStore, type LevelStoreOptions, openLevelHome, openLevelStore } from '../../src/stores/level/index.ts'
import { createMemoryHome } from '../../src/stores/memory/memory-home.ts'
import { openMemoryStore } from '../../src/stores/memory/index.ts'
import { deferred } from '../support/deferred.ts'
import { tempDir } from '../support/temp-dir.ts'
import { type Backup, idsOf, payloadIdsOf, publish, sha256, takeBackup, vouchedFor } from './publish.ts'
import { dump, fillStore } from './trees.ts'

async function destinationAt(): Promise<Destination> {
  const destination = fsDestination({ path: join(await tempDir(), 'backups') })
  onTestFinished(() => destination.close())
  return destination
}

async function levelStore(options?: LevelStoreOptions & { readonly path?: string }): Promise<LevelStore & { readonly path: string }> {
  const { path = join(await tempDir(), 'store'), ...rest } = options ?? {}
  const store = await openLevelStore(path, rest)
  onTestFinished(() => store.close())
  return Object.assign(store, { path })
}

async function memoryStore(): Promise<LevelStore> {
  const store = await openMemoryStore()
  onTestFinished(() => store.close())
  return store
}

/** A store with a published backup, and changed since. */
async function backedUp(store: LevelStore): Promise<{ readonly destination: Destination; readonly backupId: string; readonly backup: Backup; readonly original: string; readonly now: string }> {
  const destination = await destinationAt()
  await fillStore(store, { seed: 1 })
  const original = await dump(store)
  const backup = await takeBackup(store)
  const backupId = await publish(destination, backup)
  await fillStore(store, { seed: 2, files: 15 })
  await store.removeUpload('upload-1')
  return { destination, backupId, backup, original, now: await dump(store) }
}

async function filesOf(path: string): Promise<{ readonly pointer: string; readonly engines: readonly string[]; readonly names: readonly string[] }> {
  return { pointer: await readFile(join(path, 'holdfast.json'), 'utf8'), engines: await readdir(join(path, 'engines')), names: (await readdir(path)).toSorted() }
}

const KINDS = [
  ['memory', memoryStore],
  ['level', () => levelStore()],
] as const

describe.each(KINDS)('restoreBackup into a %s store', (_, makeStore) => {
  it('brings back what was backed up, keeps the ID and the engine before, and says what it did', async () => {
    const store = await makeStore()
    const { destination, backupId, backup, original } = await backedUp(store)
    const before = await store.engines()
    const { storeId } = store
    const seen: RestoreStep[] = []
    const report = await restoreBackup({ target: store, destination, backupId, onProgress: ({ step }) => void (seen.at(-1) === step || seen.push(step)) })
    expect(await dump(store)).toBe(original)
    expect(store.storeId).toBe(storeId)
    expect(seen).toEqual(RESTORE_STEPS)
    const { payload, payloadIds, records } = backup.manifest
    expect(report).toMatchObject({ backupId, storeId, previous: before.live, bytes: payload.bytes, records, payloadIds: { count: payloadIds.count, digest: payloadIds.sha256 }, warnings: [] })
    expect(await store.engines()).toEqual({ live: report.live, previous: before.live, leftovers: [] })
    expect(await store.readJournal()).toBe(undefined)
    await store.createShare('goes on')
  })

  it('restores into the other kind of store too', async () => {
    const source = await makeStore()
    const { destination, backupId, original } = await backedUp(source)
    for (const [, make] of KINDS) {
      const target = await make()
      await restoreBackup({ target, destination, backupId, allowStoreId: true })
      expect(await dump(target)).toBe(original)
    }
  })

  it('reads never fail, writes are refused as retryable, and both go on after it', async () => {
    const store = await makeStore()
    const { destination, backupId } = await backedUp(store)
    const { root } = (await store.share('share-1')) ?? { root: 0 }
    const ended = new AbortController()
    const counts = { reads: 0, writes: 0, refused: 0 }
    const reader = (async () => {
      for (; !ended.signal.aborted; counts.reads++) {
        expect((await store.readDirectory(root)).entries.length).toBeGreaterThan(0)
        for await (const upload of store.uploads()) expect(upload.startedAtMs).toBeGreaterThan(0)
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    const writer = (async () => {
      for (let at = 0; !ended.signal.aborted; at++) {
        try {
          await store.setSetting('tick', `${at}`)
          counts.writes += 1
        } catch (error) {
          expect(error).toMatchObject({ code: 'restore_in_progress', retryable: true })
          counts.refused += 1
        }
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    await restoreBackup({ target: store, destination, backupId })
    ended.abort()
    await Promise.all([reader, writer])
    expect(counts.reads).toBeGreaterThan(0)
    expect(counts.refused).toBeGreaterThan(0)
    await store.setSetting('tick', 'after')
    expect(await store.setting('tick')).toBe('after')
  })

  it('no write that was acknowledged before the drain is lost unseen: it is in the engine that rollback brings back', async () => {
    const store = await makeStore()
    const { destination, backupId } = await backedUp(store)
    const acknowledged: number[] = []
    const ended = new AbortController()
    const writer = (async () => {
      for (let at = 0; !ended.signal.aborted; at++) {
        await store.setSetting(`before-${at}`, 'x').then(
          () => acknowledged.push(at),
          () => undefined,
        )
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    await restoreBackup({ target: store, destination, backupId, onProgress: ({ step }) => void (step === 'side-engine' && ended.abort()) })
    await writer
    await rollback({ target: store })
    const settings = await store.settings()
    expect(acknowledged.length).toBeGreaterThan(0)
    for (const at of acknowledged) expect(settings.has(`before-${at}`)).toBe(true)
  })

  it('a backup that runs across the swap gives the store as it was when it began', async () => {
    const store = await makeStore()
    const { destination, backupId, now } = await backedUp(store)
    const paused = deferred()
    const chunks: Uint8Array[] = []
    const running = store.backup({
      write: async (chunk) => {
        await paused.promise
        chunks.push(chunk)
      },
      finish: async () => {},
    })
    await restoreBackup({ target: store, destination, backupId })
    paused.resolve()
    await (await running).close()
    const copy = await memoryStore()
    await copy.restore((async function* () {
      yield* chunks
    })())
    expect(await dump(copy)).toBe(now)
    await rollback({ target: store })
    expect(await dump(store)).toBe(now)
  })

  it('an iteration that is held open times the restore out: store_not_drained, nothing changed, all resumed', async () => {
    const store = await makeStore()
    const { destination, backupId, now } = await backedUp(store)
    const before = await store.engines()
    const iteration = store.payloadIds()[Symbol.asyncIterator]()
    await iteration.next()
    await expect(restoreBackup({ target: store, destination, backupId, drainTimeoutMs: 50 })).rejects.toMatchObject({ code: 'store_not_drained', retryable: true })
    expect(await store.engines()).toEqual(before)
    expect(await dump(store)).toBe(now)
    await store.setSetting('writes', 'go on')
    await iteration.return?.()
    await restoreBackup({ target: store, destination, backupId, drainTimeoutMs: 5000 })
  })

  it('refuses a second restore and a rollback while one runs', async () => {
    const store = await makeStore()
    const { destination, backupId, original } = await backedUp(store)
    const first = restoreBackup({ target: store, destination, backupId })
    await expect(restoreBackup({ target: store, destination, backupId })).rejects.toMatchObject({ code: 'restore_in_progress', retryable: true })
    await expect(rollback({ target: store })).rejects.toMatchObject({ code: 'restore_in_progress' })
    await first
    expect(await dump(store)).toBe(original)
  })

  it('is cancelled by its signal at every step before the full stop, and leaves nothing', async () => {
    const store = await makeStore()
    const { destination, backupId, now } = await backedUp(store)
    const before = await store.engines()
    for (const at of ['prepare', 'drain-writes', 'side-engine', 'restore', 'check', 'seal'] as const) {
      const controller = new AbortController()
      const reason = new Error(`cancelled in ${at}`)
      const onProgress: RestoreBackupOptions['onProgress'] = ({ step }) => step === at && controller.abort(reason)
      const failure = await restoreBackup({ target: store, destination, backupId, signal: controller.signal, onProgress }).catch((error: unknown) => error)
      expect(failure).toMatchObject({ code: 'backup_aborted', message: 'The restore was cancelled', cause: reason })
      expect(await store.engines()).toEqual(before)
      expect(await dump(store)).toBe(now)
      await store.setSetting('seed', '2')
    }
  })

  it('goes on serving whatever onProgress throws at any step, in a rollback too', async () => {
    const store = await makeStore()
    const { destination, backupId } = await backedUp(store)
    await restoreBackup({ target: store, destination, backupId })
    type Run = (options: Pick<RestoreBackupOptions, 'onProgress'>) => Promise<unknown>
    const runs: readonly Run[] = [(options) => restoreBackup({ target: store, destination, backupId, ...options }), (options) => rollback({ target: store, ...options })]
    for (const run of runs) {
      for (const at of RESTORE_STEPS) {
        const onProgress: RestoreBackupOptions['onProgress'] = ({ step }) => {
          if (step === at) throw new Error(`thrown at ${at}`)
        }
        const outcome = await run({ onProgress }).catch((error: Error) => error)
        if (outcome instanceof Error) expect(outcome.message).toMatch(new RegExp(`^thrown at ${at}(?!.*does not serve)`))
        // By then the engine is swapped in: the restore has succeeded.
        if (at === 'resume' || at === 'clear-journal') expect(outcome).not.toBeInstanceOf(Error)
        await store.setSetting('seed', at)
        expect(await store.setting('seed')).toBe(at)
      }
    }
  })

  it.each(RESTORE_STEPS.slice(0, RESTORE_STEPS.indexOf('check-live')))('fails when the store is closed in %s, and never says that it restored', async (at) => {
    const store = await makeStore()
    const { destination, backupId } = await backedUp(store)
    const closing: Promise<void>[] = []
    const restoring = restoreBackup({ target: store, destination, backupId, onProgress: ({ step }) => void (step === at && closing.push(store.close())) })
    await expect(restoring).rejects.toMatchObject({ code: expect.any(String) })
    expect(closing.length).toBeGreaterThan(0)
    await Promise.all(closing)
  })

  it('a second restore drops the engine from before the first', async () => {
    const store = await makeStore()
    const { destination, backupId } = await backedUp(store)
    const first = await restoreBackup({ target: store, destination, backupId })
    const second = await restoreBackup({ target: store, destination, backupId })
    expect(await store.engines()).toEqual({ live: second.live, previous: first.live, leftovers: [] })
  })

  it('leaves a store whose server has drained it as it is, with drain: none', async () => {
    const store = await makeStore()
    const { destination, backupId, original } = await backedUp(store)
    const seen = new Set<RestoreStep>()
    let written: Promise<void> | undefined
    const onProgress: RestoreBackupOptions['onProgress'] = ({ step }) => {
      seen.add(step)
      if (step === 'side-engine') written = store.setSetting('not', 'refused')
    }
    await restoreBackup({ target: store, destination, backupId, drain: 'none', onProgress })
    await written
    expect(seen.has('drain-writes')).toBe(false)
    expect(await dump(store)).toBe(original)
  })

  describe('refuses before anything is touched', () => {
    it.each<readonly [string, string, (backup: Backup) => Backup]>([
      ['a backup of another store', 'store_id_mismatch', (backup) => ({ ...backup, manifest: { ...backup.manifest, storeId: 'another' } })],
      ['one of another schema version', 'schema_version_mismatch', (backup) => ({ ...backup, manifest: { ...backup.manifest, schemaVersion: 99 } })],
      ['one of another kind of store', 'store_kind_mismatch', (backup) => ({ ...backup, manifest: { ...backup.manifest, storeKind: 'postgres' } })],
      ['one whose payload is short', 'backup_incomplete', (backup) => ({ ...backup, payload: backup.payload.subarray(0, -1) })],
      ['one whose payload-ids are too long', 'backup_incomplete', (backup) => ({ ...backup, payloadIds: Buffer.concat([backup.payloadIds, Buffer.from('x\n')]) })],
    ])('%s: %s', async (_, code, change) => {
      const store = await makeStore()
      const { destination, backup, now } = await backedUp(store)
      const before = await store.engines()
      const changed = change(backup)
      const backupId = await publish(destination, { ...changed, manifest: { ...changed.manifest, backupId: newUlid() } })
      const steps: RestoreStep[] = []
      await expect(restoreBackup({ target: store, destination, backupId, onProgress: ({ step }) => steps.push(step) })).rejects.toMatchObject({ code })
      expect(steps).toEqual(['prepare'])
      expect(await store.engines()).toEqual(before)
      expect(await dump(store)).toBe(now)
    })

    it.each([
      ['an ID that is none', '../x', 'invalid_argument'],
      ['a backup that is not there', '01JD0000000000000000000000', 'manifest_missing'],
    ])('%s', async (_, backupId, code) => {
      const store = await makeStore()
      const { destination, now } = await backedUp(store)
      await expect(restoreBackup({ target: store, destination, backupId })).rejects.toMatchObject({ code })
      expect(await dump(store)).toBe(now)
    })
  })

  describe('refuses what is damaged, with nothing changed and nothing left over', () => {
    it.each<readonly [string, string, (backup: Backup) => Backup | Promise<Backup>]>([
      ['a flipped bit in the payload', 'restore_corrupt|checksum_mismatch', (backup) => ({ ...backup, payload: flipped(backup.payload, backup.payload.length >> 1) })],
      ['a flipped bit in its last byte', 'restore_corrupt|checksum_mismatch', (backup) => ({ ...backup, payload: flipped(backup.payload, backup.payload.length - 1) })],
      ['a flipped bit that the manifest vouches for', 'restore_corrupt', (backup) => vouchedFor(backup, { payload: flipped(backup.payload, backup.payload.length >> 1) })],
      ['a cut that the manifest vouches for', 'restore_corrupt', (backup) => vouchedFor(backup, { payload: backup.payload.subarray(0, -40) })],
      ['bytes appended that the manifest vouches for', 'restore_corrupt', (backup) => vouchedFor(backup, { payload: Buffer.concat([backup.payload, Buffer.from('x')]) })],
      ['an empty payload', 'restore_corrupt', (backup) => vouchedFor(backup, { payload: Buffer.alloc(0) })],
      ['another digest of the payload', 'checksum_mismatch', (backup) => ({ ...backup, manifest: { ...backup.manifest, objects: undefined, payload: { ...backup.manifest.payload, sha256: sha256(Buffer.alloc(1)) } } })],
      ['a flipped bit in the payload-ids', 'checksum_mismatch|manifest_invalid|restore_corrupt', (backup) => ({ ...backup, payloadIds: flipped(backup.payloadIds, 8) })],
      ['a payload ID too few in an object that the manifest vouches for', 'checksum_mismatch', async (backup) => vouchedFor(backup, await payloadIdsOf((await idsOf(backup)).slice(1)))],
      ['another payload ID in an object that the manifest vouches for', 'checksum_mismatch', async (backup) => vouchedFor(backup, await payloadIdsOf(['other', ...(await idsOf(backup)).slice(1)]))],
      [
        'a record too many in the manifest',
        'checksum_mismatch',
        (backup) => vouchedFor(backup, { manifest: { records: { ...backup.manifest.records, inodes: (backup.manifest.records['inodes'] ?? 0) + 1 } } }),
      ],
      [
        'a payload-ID set that is not that of the records',
        'checksum_mismatch',
        async (backup) => {
          const { payloadIds, count } = await payloadIdsOf(['one-of-its-own'])
          return vouchedFor(backup, { payloadIds, manifest: { payloadIds: { count, bytes: payloadIds.length, sha256: sha256(payloadIds) } } })
        },
      ],
    ])('%s: %s', async (_, code, change) => {
      const store = await makeStore()
      const { destination, backup, now } = await backedUp(store)
      const before = await store.engines()
      const changed = await change(backup)
      const backupId = await publish(destination, { ...changed, manifest: { ...changed.manifest, backupId: newUlid() } })
      await expect(restoreBackup({ target: store, destination, backupId })).rejects.toMatchObject({ code: expect.stringMatching(`^(${code})$`) as string })
      expect(await store.engines()).toEqual(before)
      expect(await store.readJournal()).toBe(undefined)
      expect(await dump(store)).toBe(now)
      await store.setSetting('writes', 'go on')
    })
  })
})

describe('restoreBackup into a LevelDB store', () => {
  it('survives closing and opening: the restored store is live, and rollback still works', async () => {
    const store = await levelStore()
    const { destination, backupId, original, now } = await backedUp(store)
    await restoreBackup({ target: store, destination, backupId })
    await store.close()
    const again = await levelStore({ path: store.path, create: false })
    expect(await dump(again)).toBe(original)
    await rollback({ target: again })
    expect(await dump(again)).toBe(now)
    await again.close()
    expect(await dump(await levelStore({ path: store.path }))).toBe(now)
  })

  it('a damaged backup leaves the pointer byte for byte and no file', async () => {
    const store = await levelStore()
    const { destination, backup } = await backedUp(store)
    const before = await filesOf(store.path)
    const payload = Buffer.from(backup.payload)
    payload[payload.length >> 1] = (payload[payload.length >> 1] ?? 0) ^ 1
    const backupId = await publish(destination, { ...backup, payload, manifest: { ...backup.manifest, backupId: newUlid() } })
    await expect(restoreBackup({ target: store, destination, backupId })).rejects.toThrow()
    expect(await filesOf(store.path)).toEqual(before)
  })

  it('with allowStoreId takes the backup of another store, and keeps its own ID', async () => {
    const source = await levelStore()
    const { destination, backupId, original } = await backedUp(source)
    const target = await levelStore({ storeId: 'mine' })
    await expect(restoreBackup({ target, destination, backupId })).rejects.toMatchObject({ code: 'store_id_mismatch', details: { expected: 'mine', actual: source.storeId } })
    await restoreBackup({ target, destination, backupId, allowStoreId: true })
    expect([target.storeId, await target.readStoreId()]).toEqual(['mine', 'mine'])
    expect(await dump(target)).toBe(original)
    await target.close()
    expect((await levelStore({ path: target.path, storeId: 'mine' })).storeId).toBe('mine')
  })

  it('into a path where nothing is: makes the store, with the ID of the backup', async () => {
    const source = await levelStore()
    const { destination, backupId, original } = await backedUp(source)
    const path = join(await tempDir(), 'new', 'store')
    const home = await openLevelHome(path)
    expect(existsSync(path)).toBe(false)
    const report = await restoreBackup({ target: home, destination, backupId })
    await home.close()
    expect(report).toMatchObject({ storeId: source.storeId, previous: undefined })
    expect(await dump(await levelStore({ path, create: false, storeId: source.storeId }))).toBe(original)
  })

  it('into a path where nothing is: a damaged backup leaves a home without a store, which can be restored into again', async () => {
    const source = await levelStore()
    const { destination, backup, backupId, original } = await backedUp(source)
    const bad = await publish(destination, vouchedFor(backup, { payload: backup.payload.subarray(0, -40), manifest: { backupId: newUlid() } }))
    const path = join(await tempDir(), 'store')
    const home = await openLevelHome(path)
    await expect(restoreBackup({ target: home, destination, backupId: bad })).rejects.toMatchObject({ code: 'restore_corrupt' })
    expect(await home.engines()).toEqual({ live: undefined, previous: undefined, leftovers: [] })
    await restoreBackup({ target: home, destination, backupId })
    await home.close()
    expect(await dump(await levelStore({ path, create: false }))).toBe(original)
  })

  it.each<readonly [string, (engine: string) => Promise<void>]>([
    ['gone', (engine) => rm(engine, { recursive: true })],
    ['without its CURRENT', (engine) => rm(join(engine, 'CURRENT'))],
    ['full of garbage', async (engine) => {
      for (const name of await readdir(engine)) await writeFile(join(engine, name), 'garbage')
    }],
  ])('a store whose live engine is %s can be restored through its home', async (_, wreck) => {
    const store = await levelStore()
    const { destination, backupId, original } = await backedUp(store)
    const { live = '' } = await store.engines()
    await store.close()
    await wreck(join(store.path, 'engines', live))
    await expect(openLevelStore(store.path)).rejects.toMatchObject({ code: 'store_unavailable' })
    const home = await openLevelHome(store.path)
    await restoreBackup({ target: home, destination, backupId })
    await home.close()
    const again = await levelStore({ path: store.path, create: false, storeId: store.storeId })
    expect(await dump(again)).toBe(original)
  })

  it('an adopted LevelDB stays where it is as the previous engine, and goes with the next restore', async () => {
    const path = await tempDir()
    const plain = await LevelMetadataStore.open(new ClassicLevel(path), { kind: 'level' })
    await plain.createShare('plain')
    const content = await dump(plain)
    await plain.close()
    const store = await levelStore({ path, adopt: true })
    const destination = await destinationAt()
    const backupId = await publish(destination, await takeBackup(store))
    await store.createShare('later')
    await restoreBackup({ target: store, destination, backupId })
    expect(await dump(store)).toBe(content)
    expect((await store.engines()).previous).toBe('.')
    await rollback({ target: store })
    expect(await store.share('later')).toBeDefined()
    await rollback({ target: store })
    await restoreBackup({ target: store, destination, backupId })
    expect(await dump(store)).toBe(content)
    expect((await readdir(path)).toSorted()).toEqual(['engines', 'holdfast.json', 'holdfast.lock'])
  })

  it('names the space that is needed and the space there is, before anything is touched', async () => {
    const files = { ...nodeFiles, space: async () => ({ freeBytes: 1000, type: 0 }) }
    const store = await levelStore({ files })
    const { destination, backupId, now } = await backedUp(store)
    const before = await filesOf(store.path)
    await expect(restoreBackup({ target: store, destination, backupId })).rejects.toMatchObject({
      code: 'destination_no_space',
      message: expect.stringMatching(/1000 bytes free.* \d+ are needed/) as string,
      details: { freeBytes: 1000 },
    })
    expect(await filesOf(store.path)).toEqual(before)
    expect(await dump(store)).toBe(now)
  })

  it.each(['opens no more', 'opens and does not serve'])('an engine that %s once it was swapped in is swapped back at once, and both are kept', async (how) => {
    let broken = ''
    const real = levelEngines({})
    const engines: LevelEngines = {
      create: (directory, storeId) => real.create(directory, storeId),
      open: async (directory, storeId) => {
        if (broken === '' || !directory.endsWith(broken)) return await real.open(directory, storeId)
        if (how === 'opens no more') throw new Error('it is broken')
        return notServing(await real.open(directory, storeId))
      },
    }
    const store = await levelStore({ engines })
    const { destination, backupId, now, original } = await backedUp(store)
    const before = await store.engines()
    const onProgress: RestoreBackupOptions['onProgress'] = ({ step }) => {
      if (step === 'journal') broken = readdirSync(join(store.path, 'engines')).find((name) => name !== before.live) ?? ''
    }
    const failure = await restoreBackup({ target: store, destination, backupId, onProgress }).catch((error: unknown) => error)
    expect(failure).toMatchObject({ code: 'store_unavailable', message: expect.stringContaining(`"${before.live}" is live again`) as string })
    expect(await store.readJournal()).toBe(undefined)
    expect(await dump(store)).toBe(now)
    await store.setSetting('writes', 'go on')
    expect(await store.engines()).toEqual({ live: before.live, previous: broken, leftovers: [] })
    expect((failure as Error).message).toContain(`"${broken}" is kept`)
    broken = ''
    await rollback({ target: store })
    expect(await dump(store)).toBe(original)
  })

  it('a write that hangs times the drain out: store_not_drained, nothing made, all resumed', async () => {
    const hanging = deferred()
    const home = await createMemoryHome()
    const store = await LiveMetadataStore.open(withHangingWrites(home, hanging.promise))
    onTestFinished(() => store.close())
    const { destination, backupId, now } = await backedUp(store)
    const steps: RestoreStep[] = []
    const write = store.setSetting('hang', 'on')
    await expect(restoreBackup({ target: store, destination, backupId, drainTimeoutMs: 30, onProgress: ({ step }) => steps.push(step) })).rejects.toMatchObject({ code: 'store_not_drained' })
    expect(steps).toEqual(['prepare', 'drain-writes', 'resume'])
    expect(await dump(store)).toBe(now)
    await store.setSetting('other', 'writes go on')
    hanging.resolve()
    await write
  })

  it('a resume that fails too does not hide why the restore failed', async () => {
    const hanging = deferred()
    const home = await createMemoryHome()
    const store = await LiveMetadataStore.open(withHangingWrites(home, hanging.promise))
    onTestFinished(() => store.close())
    const { destination, backupId } = await backedUp(store)
    const write = store.setSetting('hang', 'on')
    const resume = store.resume.bind(store)
    store.resume = async () => {
      await resume()
      throw new Error('no longer')
    }
    const failed = restoreBackup({ target: store, destination, backupId, drainTimeoutMs: 30 })
    await expect(failed).rejects.toMatchObject({ code: 'store_not_drained', message: expect.stringMatching(/and the store does not serve until it is opened again: no longer$/) as unknown })
    hanging.resolve()
    await write
  })
})

describe('rollback', () => {
  it.each(KINDS)('of a %s store brings back what was before the restore, and again what was restored', async (_, makeStore) => {
    const store = await makeStore()
    const { destination, backupId, original, now } = await backedUp(store)
    const { live: restored } = await restoreBackup({ target: store, destination, backupId })
    const first = await rollback({ target: store })
    expect(await dump(store)).toBe(now)
    expect(first).toMatchObject({ previous: restored, warnings: [] })
    const second = await rollback({ target: store })
    expect(await dump(store)).toBe(original)
    expect(second).toMatchObject({ live: restored, previous: first.live })
    expect(await store.engines()).toEqual({ live: restored, previous: first.live, leftovers: [] })
    expect(await store.readJournal()).toBe(undefined)
    await store.createShare('goes on')
  })

  it.each(KINDS)('of a %s store that was never restored is refused with rollback_unavailable', async (_, makeStore) => {
    const store = await makeStore()
    await expect(rollback({ target: store })).rejects.toMatchObject({ code: 'rollback_unavailable' })
    await store.createShare('goes on')
  })

  it('to an engine that is damaged is undone, and the store serves as before', async () => {
    const store = await levelStore()
    const { destination, backupId, original } = await backedUp(store)
    const { live, previous = '' } = await restoreBackup({ target: store, destination, backupId })
    await rm(join(store.path, 'engines', previous, 'CURRENT'))
    await expect(rollback({ target: store })).rejects.toMatchObject({ code: 'store_unavailable', message: expect.stringContaining(`"${live}" is live again`) as string })
    expect(await dump(store)).toBe(original)
    expect(await store.engines()).toEqual({ live, previous, leftovers: [] })
    await store.createShare('goes on')
  })
})

/** A store whose shares are lost on the way out. */
function notServing(store: MetadataStore): MetadataStore {
  return new Proxy(store, {
    get(target, property) {
      if (property === 'shares') return () => Promise.reject(new Error('no shares'))
      const value: unknown = Reflect.get(target, property)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

function withHangingWrites(home: EngineHome, hanging: Promise<void>): EngineHome {
  const hang = (store: MetadataStore): MetadataStore =>
    new Proxy(store, {
      get(target, property) {
        const value: unknown = Reflect.get(target, property)
        if (typeof value !== 'function') return value
        if (property !== 'setSetting') return value.bind(target) as unknown
        return async (name: string, text: string) => {
          if (name === 'hang') await hanging
          return await target.setSetting(name, text)
        }
      },
    })
  return new Proxy(home, {
    get(target, property) {
      if (property === 'openEngine') return async (engine: string) => hang(await target.openEngine(engine))
      const value: unknown = Reflect.get(target, property)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[at] = (copy[at] ?? 0) ^ 1
  return copy
}

it('names the backup ID when it is missing, and how to find one when it is not whole', async () => {
  const target = await memoryStore()
  const given = { target, destination: await destinationAt() }
  await expect(restoreBackup(given as unknown as RestoreBackupOptions)).rejects.toThrow('Cannot call restoreBackup(): "backupId" is missing; it must be a string')
  await expect(restoreBackup({ ...given, backupId: 'latest' })).rejects.toMatchObject({
    code: 'invalid_argument',
    message: 'Cannot use "latest" as a backup ID: it is not a ULID',
    hint: expect.stringContaining("openRepository(destination).resolve('latest')") as unknown,
  })
})

it('says of a database that is not a home what restores it instead', async () => {
  const destination = await destinationAt()
  const database = new ClassicLevel(join(await tempDir(), 'database'))
  onTestFinished(() => database.close())
  const target = levelBackupable(database, { payloadIds: () => [] })
  // @ts-expect-error a Backupable is not Swappable
  const options: RestoreBackupOptions = { target, destination, backupId: newUlid() }
  await expect(restoreBackup(options)).rejects.toMatchObject({ code: 'backup_unsupported', hint: expect.stringContaining('restoreInto') as unknown })
})
