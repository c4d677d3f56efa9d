/** Every kind of damage to a stored backup, met by a restore into a store that is in service. */
import { readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { fsDestination } from '../../destinations/fs/index.ts'
import { newUlid } from '../../src/util/ulid.ts'
import { type BackupObject, type Destination, MAX_MANIFEST_BYTES } from '../../src/contracts/destination.ts'
import { restoreBackup } from '../../src/restore/restore-backup.ts'
import { encodeManifest } from '../../src/format/manifest.ts'
import { levelEngines } from '../../src/stores/level/home/level-engines.ts'
import { type LevelStore, openLevelStore } from '../../src/stores/level/index.ts'
import { openMemoryStore } from '../../src/stores/memory/index.ts'
import { type Expected, damagedStreams } from '../support/damage.ts'
import { quickFiles } from '../support/faulty-files.ts'
import { runs, seed } from '../support/seed.ts'
import { changed, flipped, frames, numbered, pieces, sealed } from '../support/stream-surgery.ts'
import { chunksOf, readStreamWhole, writeStream } from '../support/streams.ts'
import { tempDir } from '../support/temp-dir.ts'
import { type Backup, takeBackup, vouchedFor } from './publish.ts'
import { dump, fillStore } from './trees.ts'

/** The ID that the golden manifests are of. */
const GOLDEN_ID = '01JGZ7GK3G0000000000000001'
const FIXTURES = join(import.meta.dirname, '../../fixtures')

let refused = 0
afterAll(() => console.log(`damaged backups: ${refused} restores refused, the live store serving and equal after each`))

/** A store in service, a backup of it, and where damaged ones are published. */
interface Scene {
  readonly store: LevelStore
  readonly backup: Backup
  readonly destination: Destination
  readonly path: string
  /** Rejects unless a restore of the published backup is refused with this code and leaves all as it was. */
  readonly refuses: (backupId: string, code: string) => Promise<void>
}

/** How many of the damaged streams are tried: LevelDB's restores take longer, and read them by the same code. */
const EVERY = { Memory: 1, LevelDB: 4 } as const

const STORES = { Memory: () => openMemoryStore(), LevelDB: async () => await openLevelStore(join(await tempDir(), 'store'), { files: quickFiles, engines: levelEngines({ multithreading: false, durable: false }) }) }

async function scene(open: () => Promise<LevelStore>): Promise<Scene> {
  const store = await open()
  onTestFinished(() => store.close())
  await fillStore(store, { seed: 1, files: 12 })
  const backup = await takeBackup(store)
  await fillStore(store, { seed: 2, files: 5 })
  await store.setSetting('serves', '0')
  const path = await tempDir()
  const destination = fsDestination({ path, files: quickFiles })
  const [before, engines] = [await dump(store), await store.engines()]
  const refuses = async (backupId: string, code: string): Promise<void> => {
    await expect(restoreBackup({ target: store, destination, backupId })).rejects.toMatchObject({ code: expect.stringMatching(`^(${code})$`) as string })
    expect(await store.engines()).toEqual(engines)
    expect(await store.readJournal()).toBe(undefined)
    expect(await dump(store)).toBe(before)
    await store.setSetting('serves', '0')
    refused += 1
  }
  return { store, backup, destination, path, refuses }
}

/** Publishes bytes as they are, whatever the manifest says. */
async function publishRaw(destination: Destination, backupId: string, objects: Readonly<Record<BackupObject, Uint8Array>>, manifest: Uint8Array): Promise<void> {
  const upload = await destination.put(backupId)
  await upload.write('payload', objects.payload)
  await upload.write('payload-ids', objects['payload-ids'])
  await upload.publish(manifest)
}

/** Publishes a backup whose manifest vouches for it, under an ID of its own. */
async function publishVouched({ destination, backup }: Scene, change: { readonly payload?: Buffer; readonly payloadIds?: Buffer }): Promise<string> {
  const { payload, payloadIds, manifest } = vouchedFor(backup, { ...change, manifest: { backupId: newUlid() } })
  await publishRaw(destination, manifest.backupId, { payload, 'payload-ids': payloadIds }, encodeManifest(manifest))
  return manifest.backupId
}

async function damagedFixtures(directory: string): Promise<readonly (readonly [name: string, bytes: Buffer, expected: Expected])[]> {
  const expected = JSON.parse(await readFile(join(FIXTURES, directory, 'expected.json'), 'utf8')) as Record<string, Expected>
  return await Promise.all(Object.entries(expected).map(async ([name, fault]) => [name, await readFile(join(FIXTURES, directory, name)), fault] as const))
}

/** Some records of a backup as a stream of its own: two frames of one section, and one of two others each. */
async function fourFrames({ payload, manifest }: Backup, createdAtMs: number): Promise<Buffer> {
  const { data } = await readStreamWhole(chunksOf(payload))
  const [first, ...others] = data.filter(({ records }) => records.length > 1)
  const [second, third] = others.slice(-2)
  if (first === undefined || second === undefined || third === undefined) throw new Error('The backup has too few sections')
  const halves = [first.records.slice(0, 1), first.records.slice(1)].map((records) => ({ section: first.section, records }))
  const { storeKind, storeId, schemaVersion, records } = manifest
  return (await writeStream([...halves, second, third], { storeKind, storeId, schemaVersion, sections: Object.keys(records), createdAtMs })).bytes
}

describe.each(Object.entries(STORES))('restoreBackup() into a %s store in service', (kind, open) => {
  const every = EVERY[kind as keyof typeof EVERY]

  it('refuses every damaged golden manifest with its code, the live store serving and equal, nothing left over', async () => {
    const { backup, destination, path, refuses } = await scene(open)
    const objects = { payload: backup.payload, 'payload-ids': backup.payloadIds }
    for (const [, bytes, { code }] of await damagedFixtures('v1-damaged-manifests')) {
      // No upload takes one over the limit.
      await publishRaw(destination, GOLDEN_ID, objects, bytes.subarray(0, MAX_MANIFEST_BYTES))
      await writeFile(join(path, GOLDEN_ID, 'manifest.json'), bytes)
      await refuses(GOLDEN_ID, code)
      await destination.delete(GOLDEN_ID)
    }
  })

  it('refuses every damaged golden payload-ids object that its manifest vouches for, the live store serving and equal, nothing left over', async () => {
    const place = await scene(open)
    for (const [, payloadIds, { code }] of await damagedFixtures('v1-damaged-payload-ids')) {
      await place.refuses(await publishVouched(place, { payloadIds }), code)
    }
  })

  it('refuses every kind of damage to a stream that its manifest vouches for, the live store serving and equal, nothing left over', async () => {
    const place = await scene(open)
    const createdAtMs = Date.parse(place.backup.manifest.createdAt)
    const whole = await fourFrames(place.backup, createdAtMs)
    const damaged = damagedStreams(whole, await fourFrames(place.backup, createdAtMs + 1)).filter((_, at) => at % every === 0)
    for (const { bytes, expected } of damaged) {
      await place.refuses(await publishVouched(place, { payload: bytes }), expected.code)
    }
    // Nothing is wrong with it, but that it is not all of the backup: the references of files whose records are missing.
    await place.refuses(await publishVouched(place, { payload: whole }), 'store_inconsistent')
  })

  it('refuses a payload that its manifest vouches for, with any bit flipped, cut or extended at any byte, or its frames moved', async () => {
    const place = await scene(open)
    const { payload, manifest } = place.backup
    // A header that decodes, and differs from the manifest: its CRC is what tells damage from another stream.
    await place.refuses(await publishVouched(place, { payload: flipped(payload, payload.indexOf(manifest.storeKind) * 8 + 1) }), 'restore_corrupt')
    const damage = fc.oneof(
      fc.nat(payload.byteLength * 8 - 1).map((bit) => flipped(payload, bit)),
      fc.nat(payload.byteLength - 1).map((bytes) => payload.subarray(0, bytes)),
      fc.uint8Array({ minLength: 1, maxLength: 40 }).map((more) => Buffer.concat([payload, more])),
      fc.nat(pieces(payload).length - 1).map((at) => Buffer.concat(pieces(payload).toSpliced(at, 1))),
      fc.nat(pieces(payload).length - 1).map((at) => Buffer.concat(pieces(payload).toSpliced(at, 0, pieces(payload)[at] as Buffer))),
    )
    await fc.assert(
      fc.asyncProperty(damage, async (payload) => {
        await place.refuses(await publishVouched(place, { payload }), 'restore_corrupt')
      }),
      { seed, numRuns: runs(100 / every) },
    )
  })

  it('refuses a payload that is whole but has records dropped, doubled or of another store, by its own counts and the manifest', async () => {
    const place = await scene(open)
    const list = frames(place.backup.payload)
    const data = list.flatMap(({ type }, at) => (type === 2 ? [at] : [])).filter((_, at) => at % every === 0)
    for (const at of data) {
      await place.refuses(await publishVouched(place, { payload: sealed(numbered(list.toSpliced(at, 1))) }), 'restore_corrupt')
      await place.refuses(await publishVouched(place, { payload: sealed(numbered(list.toSpliced(at, 0, list[at] as (typeof list)[number]))) }), 'restore_corrupt')
    }
    const one = data[0] ?? 0
    await place.refuses(await publishVouched(place, { payload: sealed(changed(list, one, ({ records, ...frame }) => ({ ...frame, records: records + 1 }))) }), 'restore_corrupt')
  })
})

it('a LevelDB store that refused damaged backups has the files that it had', async () => {
  const root = join(await tempDir(), 'store')
  const place = await scene(() => openLevelStore(root))
  const [names, pointer] = [await readdir(root), await readFile(join(root, 'holdfast.json'))]
  const engines = await readdir(join(root, 'engines'))
  await place.refuses(await publishVouched(place, { payload: place.backup.payload.subarray(0, -1) }), 'restore_corrupt')
  await place.refuses(await publishVouched(place, { payloadIds: place.backup.payloadIds.subarray(0, -1) }), 'restore_corrupt')
  expect(await readdir(root)).toEqual(names)
  expect(await readdir(join(root, 'engines'))).toEqual(engines)
  expect(await readFile(join(root, 'holdfast.json'))).toEqual(pointer)
})
