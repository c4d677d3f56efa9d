import { readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MemoryLevel } from 'memory-level'
import { runBackup } from '../../src/backup/run-backup.ts'
import { PayloadDirectory } from '../../src/payload-stores/directory/index.ts'
import { findContentCheck } from '../../src/registry/index.ts'
import { levelBackupable } from '../../src/stores/level/index.ts'
import type { VerifyProgress } from '../../src/repository/check-backup.ts'
import { verifyBackup } from '../../src/repository/verify-backup.ts'
import { DestinationUnreachableError, type HoldfastError } from '../../src/errors/errors.ts'
import { decodePayloadIds } from '../../src/payload-ids/payload-id-set.ts'
import { openMemoryStore } from '../../src/stores/memory/index.ts'
import { newUlid } from '../../src/util/ulid.ts'
import { publish, sha256, takeBackup, vouchedFor, payloadIdsOf, type Backup } from '../restore/publish.ts'
import { altered } from '../support/altered.ts'
import { collect } from '../support/collect.ts'
import { FakeStore } from '../support/fake-store.ts'
import { randomFrom, runs, seed } from '../support/seed.ts'
import { flipped, newPlace, tamper, type Place } from '../backup/backups.ts'
import { tempDir } from '../support/temp-dir.ts'

async function published(count = 300): Promise<Place & { readonly backupId: string; readonly object: (name: string) => string; readonly store: FakeStore }> {
  const place = await newPlace()
  const store = FakeStore.of(count)
  const { backupId } = await runBackup({ store, destination: place.destination, catalog: place.catalog })
  return { ...place, backupId, store, object: (name) => join(place.path, backupId, name) }
}

/** Rejects with one of the codes that mean damage. */
const DAMAGE = ['restore_corrupt', 'checksum_mismatch', 'backup_incomplete', 'manifest_invalid', 'manifest_missing', 'manifest_version_unsupported', 'schema_version_mismatch']

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => 'verified',
    (error: HoldfastError) => error.code,
  )
}

describe('verifyBackup()', () => {
  test('says what it checked, at each level', async () => {
    const { destination, backupId, store } = await published()
    const steps = new Set<string>()
    const onProgress = ({ step }: VerifyProgress): void => void steps.add(step)
    const manifest = await verifyBackup({ destination, backupId, level: 'manifest', onProgress })
    expect(manifest).toMatchObject({ backupId, destination: destination.url, level: 'manifest', bytes: 0, frames: 0 })
    expect([...steps]).toEqual(['manifest'])
    const report = await verifyBackup({ destination, backupId, onProgress })
    const { payload, payloadIds } = report.manifest
    expect(report).toMatchObject({ level: 'content', checkedContent: 'form', frames: 5, bytes: payload.bytes + payloadIds.bytes })
    expect(await verifyBackup({ destination, backupId, level: 'checksum' })).toMatchObject({ level: 'checksum', checkedContent: 'none', frames: 5 })
    expect([...steps]).toEqual(['manifest', 'objects'])
    const trial = new FakeStore([], { batch: 7, storeId: 'trial' })
    let restored: readonly unknown[] = []
    const discard = async (): Promise<void> => void (restored = trial.records)
    await verifyBackup({ destination, backupId, level: 'restore', openTrial: async () => altered(trial, { discard }), onProgress })
    expect(restored).toEqual(store.records)
    expect([...steps]).toEqual(['manifest', 'objects', 'trial-restore', 'trial-check'])
  })

  test('changes nothing at the destination', async () => {
    const { destination, backupId, object } = await published()
    const before = ['payload', 'payload-ids', 'manifest.json'].map((name) => readFileSync(object(name)))
    await verifyBackup({ destination, backupId, level: 'restore', openTrial: async () => new FakeStore() })
    expect(['payload', 'payload-ids', 'manifest.json'].map((name) => readFileSync(object(name)))).toEqual(before)
  })

  test('proves a metadata store by a trial restore', async () => {
    const place = await newPlace()
    await using store = await openMemoryStore()
    const { root } = await store.createShare('s')
    for (let at = 0; at < 50; at++) await store.create({ parent: root, name: `f${at}` }, { type: 'file', content: { payloadId: `p${at}` } })
    const { backupId } = await runBackup({ store, destination: place.destination, catalog: place.catalog })
    await using home = await openMemoryStore()
    const openTrial = (): ReturnType<typeof home.openSide> => home.openSide(newUlid(), { storeId: 'trial' })
    await verifyBackup({ destination: place.destination, catalog: place.catalog, backupId, level: 'restore', openTrial })
    expect((await home.engines()).leftovers).toEqual([])
  })

  test('finds any flipped bit of any object', async () => {
    const { destination, backupId, object } = await published(40)
    const payload = readFileSync(object('payload'))
    const random = randomFrom(seed)
    for (const name of ['payload', 'payload-ids', 'manifest.json']) {
      const whole = readFileSync(object(name))
      for (let run = 0; run < runs(150); run++) {
        const bit = Math.floor(random() * whole.byteLength * 8)
        tamper(object(name), () => flipped(whole, bit))
        const code = await codeOf(verifyBackup({ destination, backupId }))
        // A bit of a label or of the version in the manifest is free to be another: nothing else tells what it was.
        if (name === 'manifest.json' && code === 'verified') expect(JSON.parse(readFileSync(object(name), 'utf8'))).toMatchObject({ payload: { sha256: sha256(payload) } })
        else expect(DAMAGE, `${name}, bit ${bit}`).toContain(code)
      }
      tamper(object(name), () => whole)
    }
    expect(await codeOf(verifyBackup({ destination, backupId }))).toBe('verified')
  })

  test('finds what is missing, cut short or too long, at level "manifest" already', async () => {
    const { destination, backupId, object } = await published()
    for (const name of ['payload', 'payload-ids']) {
      const whole = readFileSync(object(name))
      for (const change of [(bytes: Buffer) => bytes.subarray(0, -1), (bytes: Buffer) => bytes.subarray(0, 0), (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(1)])]) {
        tamper(object(name), change)
        await expect(verifyBackup({ destination, backupId, level: 'manifest' })).rejects.toMatchObject({ code: 'backup_incomplete', message: expect.stringContaining(`: its ${name === 'payload' ? 'stream' : 'list of payload IDs'} has`) as unknown, details: { object: name, expected: whole.byteLength } })
        tamper(object(name), () => whole)
      }
    }
    rmSync(object('payload-ids'))
    await expect(verifyBackup({ destination, backupId, level: 'manifest' })).rejects.toMatchObject({ code: 'backup_incomplete', details: { object: 'payload-ids', actual: undefined } })
    rmSync(object('manifest.json'))
    expect(await codeOf(verifyBackup({ destination, backupId }))).toBe('manifest_missing')
  })

  test('the error for a damaged payload has frame and offset, and never the words of a restore', async () => {
    const { destination, backupId, object } = await published()
    tamper(object('payload'), (bytes) => flipped(bytes, 8 * (bytes.byteLength - 200)))
    const error = await verifyBackup({ destination, backupId }).catch((error: unknown) => error)
    expect(error).toMatchObject({ code: 'restore_corrupt', frame: expect.any(Number), offset: expect.any(Number) })
    expect(error).toMatchObject({ message: expect.stringContaining(`Cannot use backup ${backupId}`), hint: expect.not.stringContaining('target') })
  })

  test('objects and a manifest that vouches for them must agree in what they say', async () => {
    const { destination } = await newPlace()
    const [backup, other] = await Promise.all([takeBackup(FakeStore.of(20)), takeBackup(FakeStore.of(21))])
    const { payloadIds: otherIds, ...otherSet } = await payloadIdsOf(['p1', 'p2'])
    const wrong: Record<string, Backup> = {
      'the store ID': vouchedFor(backup, { manifest: { storeId: 'other' } }),
      'the kind': vouchedFor(backup, { manifest: { storeKind: 'other' } }),
      'the schema version': vouchedFor(backup, { manifest: { schemaVersion: 2 } }),
      'the time': vouchedFor(backup, { manifest: { createdAt: '2020-01-01T00:00:00.000Z' } }),
      'the records': vouchedFor(backup, { manifest: { records: { entries: 21 } } }),
      'the sections': vouchedFor(backup, { manifest: { records: { entries: 20, more: 0 } } }),
      'a payload of another backup': vouchedFor(backup, { payload: other.payload }),
      'payload IDs of another backup': vouchedFor(backup, { payloadIds: other.payloadIds }),
      'payload IDs and their set': vouchedFor(backup, { payloadIds: otherIds, manifest: { payloadIds: { ...otherSet, bytes: otherIds.byteLength, sha256: sha256(otherIds) } } }),
    }
    for (const [what, bad] of Object.entries(wrong)) {
      const backupId = await publish(destination, { ...bad, manifest: { ...bad.manifest, backupId: newUlid() } })
      await expect(verifyBackup({ destination, backupId }), what).rejects.toMatchObject({ code: 'checksum_mismatch' })
    }
  })

  test('a malformed list of payload IDs is found although the manifest vouches for it', async () => {
    const { destination } = await newPlace()
    const backup = await takeBackup(FakeStore.of(20))
    const backupId = await publish(destination, vouchedFor(backup, { payloadIds: Buffer.from('p1\np2\n') }))
    await expect(verifyBackup({ destination, backupId })).rejects.toMatchObject({ code: 'checksum_mismatch', message: expect.stringContaining('payload IDs') })
  })

  test('a trial restore that gives something else is checksum_mismatch, and the trial store is discarded', async () => {
    const { destination, backupId } = await published()
    const changes: readonly ((store: FakeStore) => void)[] = [
      (store) => void store.records.pop(),
      (store) => void (store.records[3] = ['key-3', 'p4']),
      (store) => void (store.records[3] = ['key-x', 'p3']),
      (store) => void (store.records = store.records.toReversed()),
    ]
    for (const change of changes) {
      const trial = new FakeStore()
      let discarded = 0
      const lossy = altered(trial, {
        restore: async (source) => {
          await trial.restore(source)
          change(trial)
        },
        discard: async () => void discarded++,
      })
      await expect(verifyBackup({ destination, backupId, level: 'restore', openTrial: async () => lossy })).rejects.toMatchObject({
        code: 'checksum_mismatch',
        message: expect.stringContaining('trial restore'),
      })
      expect(discarded).toBe(1)
    }
  })

  test('a trial store that fails is discarded; when that fails too, the error has both failures', async () => {
    const { destination, backupId } = await published()
    const failing = altered(new FakeStore(), { restore: () => Promise.reject(new Error('No room')), discard: () => Promise.reject(new Error('No way')) })
    await expect(verifyBackup({ destination, backupId, level: 'restore', openTrial: async () => failing })).rejects.toThrow(/No room.*No way/)
    const halfway = altered(new FakeStore(), {
      backup: async (sink) => {
        await sink.write(new Uint8Array(3))
        throw new Error('Half-way')
      },
    })
    await expect(verifyBackup({ destination, backupId, level: 'restore', openTrial: async () => halfway })).rejects.toThrow('Half-way')
    const populated = FakeStore.of(1)
    expect(await codeOf(verifyBackup({ destination, backupId, level: 'restore', openTrial: async () => populated }))).toBe('restore_destination_not_empty')
  })

  test('records the outcome in a catalog: good, damaged, but not that it could not be read', async () => {
    const { destination, catalog, backupId, object } = await published()
    const entry = (): ReturnType<typeof catalog.backup> => catalog.backup(backupId, destination.url)
    await verifyBackup({ destination, backupId, catalog, level: 'restore', openTrial: async () => new FakeStore() })
    expect((await entry())?.verification).toEqual({ level: 'restore', error: undefined })
    const unreachable = altered(destination, { stat: () => Promise.reject(new DestinationUnreachableError('Out of reach')) })
    expect(await codeOf(verifyBackup({ destination: unreachable, backupId, catalog }))).toBe('destination_unreachable')
    expect((await entry())?.verification).toEqual({ level: 'restore', error: undefined })
    tamper(object('payload'), (bytes) => flipped(bytes, 3000))
    expect(await codeOf(verifyBackup({ destination, backupId, catalog }))).toBe('restore_corrupt')
    expect((await entry())?.verification).toMatchObject({ level: 'form', error: { code: 'restore_corrupt' } })
  })

  test('records a backup that the catalog did not know', async () => {
    const { destination, backupId } = await published()
    const { catalog } = await newPlace()
    await verifyBackup({ destination, backupId, catalog })
    expect(await catalog.backup(backupId, destination.url)).toMatchObject({ how: 'rebuild', verification: { level: 'form' } })
  })

  test('says how far it could look into the content, and records that', async () => {
    const { destination, catalog } = await newPlace()
    const level = async (backupId: string): Promise<unknown> => (await catalog.backup(backupId, destination.url))?.verification?.level
    const verify = (backupId: string): ReturnType<typeof verifyBackup> => verifyBackup({ destination, backupId, catalog, contentCheck: findContentCheck })
    await using store = await openMemoryStore()
    await store.createShare('s')
    const known = (await runBackup({ store, destination, catalog })).backupId
    expect(await level(known)).toBe('checksum')
    expect(await verify(known)).toMatchObject({ level: 'content', checkedContent: 'all' })
    expect(await level(known)).toBe('content')
    const database = new MemoryLevel()
    await database.put('a', 'p1')
    const others = (await runBackup({ store: levelBackupable(database, { payloadIds: (_, value) => [value] }), destination, catalog })).backupId
    expect(await verify(others)).toMatchObject({ level: 'content', checkedContent: 'form' })
    const archive = await takeBackup(FakeStore.of(20))
    const unread = await publish(destination, vouchedFor(archive, { manifest: { content: 'archive' } }))
    expect(await verify(unread)).toMatchObject({ level: 'checksum', checkedContent: 'none' })
    expect(await level(unread)).toBe('checksum')
    expect(await level(others)).toBe('form')
    expect(await verifyBackup({ destination, backupId: unread, contentCheck: async () => async (source) => void (await collect(source.frames())) })).toMatchObject({ level: 'content', checkedContent: 'all' })
  })

  test('records a fault at the level that finds it, so that the same call clears it when the backup is whole again', async () => {
    const { destination, catalog, path } = await newPlace()
    const archive = vouchedFor(await takeBackup(FakeStore.of(20)), { manifest: { content: 'archive' } })
    const backupId = await publish(destination, archive)
    const verification = async (): Promise<unknown> => (await catalog.backup(backupId, destination.url))?.verification
    const payload = join(path, backupId, 'payload')
    await verifyBackup({ destination, backupId, catalog })
    renameSync(payload, join(path, 'away'))
    expect(await codeOf(verifyBackup({ destination, backupId, catalog }))).toBe('backup_incomplete')
    expect(await verification()).toMatchObject({ level: 'manifest', error: { code: 'backup_incomplete' } })
    renameSync(join(path, 'away'), payload)
    await verifyBackup({ destination, backupId, catalog })
    expect(await verification()).toEqual({ level: 'checksum', error: undefined })
    tamper(payload, (bytes) => flipped(bytes, bytes.byteLength >> 1))
    expect(await codeOf(verifyBackup({ destination, backupId, catalog }))).not.toBe('')
    expect(await verification()).toMatchObject({ level: 'checksum', error: {} })
    tamper(payload, (bytes) => flipped(bytes, bytes.byteLength >> 1))
    await verifyBackup({ destination, backupId, catalog, level: 'manifest' })
    expect(await verification()).toMatchObject({ level: 'checksum', error: {} })
    await verifyBackup({ destination, backupId, catalog })
    expect(await verification()).toEqual({ level: 'checksum', error: undefined })
  })

  test('records whose maker is not known are damaged where they are out of order or not records, and checksums do not tell', async () => {
    const { destination, catalog } = await newPlace()
    const disordered = new FakeStore()
    disordered.records = [['b', 'p1'], ['a', 'p2']]
    const { backupId } = await runBackup({ store: disordered, destination, catalog })
    await verifyBackup({ destination, backupId, catalog, level: 'checksum' })
    const failure = { code: 'restore_corrupt', frame: 1, message: expect.stringContaining('"a" is not greater than the key before'), hint: expect.stringContaining('Do not trust this backup') }
    await expect(verifyBackup({ destination, backupId, catalog })).rejects.toMatchObject(failure)
    expect((await catalog.backup(backupId, destination.url))?.verification).toMatchObject({ level: 'form', error: { code: 'restore_corrupt' } })
    await expect(verifyBackup({ destination, backupId, level: 'payloads', payloads: await PayloadDirectory.open(await tempDir()) })).rejects.toMatchObject(failure)
  })

  test('rejects with the reason of its signal, at any time', async () => {
    const { destination, backupId } = await published(5000)
    await expect(verifyBackup({ destination, backupId, signal: AbortSignal.abort('early') })).rejects.toBe('early')
    for (const step of ['manifest', 'objects', 'trial-restore', 'trial-check']) {
      const controller = new AbortController()
      const reason = new Error(step)
      const onProgress = (progress: VerifyProgress): void => {
        if (progress.step === step) controller.abort(reason)
      }
      const result = verifyBackup({ destination, backupId, level: 'restore', openTrial: async () => new FakeStore(), signal: controller.signal, onProgress })
      await expect(result).rejects.toBe(reason)
    }
  })

  test('refuses what cannot be meant', async () => {
    const { destination, backupId } = await published(1)
    await expect(verifyBackup({ destination, backupId, level: 'restore' })).rejects.toThrow(TypeError)
    await expect(verifyBackup({ destination, backupId, level: 'all' as 'restore' })).rejects.toThrow(TypeError)
    expect(await codeOf(verifyBackup({ destination, backupId: '../x' }))).toBe('invalid_argument')
    expect(await codeOf(verifyBackup({ destination, backupId: newUlid() }))).toBe('manifest_missing')
  })

  test('verifies whatever was backed up, and finds the same payload IDs in it', async () => {
    const value = fc.string({ maxLength: 30 })
    const records = fc.uniqueArray(fc.tuple(value, fc.oneof(value, fc.stringMatching(/^p[a-f0-9]{0,60}$/))), { selector: ([key]) => key, maxLength: 300 })
    await fc.assert(
      fc.asyncProperty(records, fc.integer({ min: 1, max: 50 }), async (records, batch) => {
        const { destination } = await newPlace()
        const valid = records.map(([key, value]) => [key, /^p[\x21-\x7e]*$/.test(value) ? value : `x${value}`] as const)
        const { backupId } = await runBackup({ store: new FakeStore(valid, { batch }), destination })
        await verifyBackup({ destination, backupId, level: 'restore', openTrial: async () => new FakeStore() })
        const expected = [...new Set(valid.map(([, value]) => value).filter((value) => value.startsWith('p')))].toSorted()
        expect(await collect(decodePayloadIds(destination.open(backupId, 'payload-ids')))).toEqual(expected)
      }),
      { seed, numRuns: runs(20) },
    )
  })
})
