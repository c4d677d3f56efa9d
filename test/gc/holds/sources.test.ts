/** Every source of holds failing in turn: nothing is deleted. */
import { mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Manifest } from '../../../src/contracts/manifest.ts'
import { rebuildCatalog } from '../../../src/repository/rebuild-catalog.ts'
import { deleteBackup } from '../../../src/repository/delete-backups.ts'
import { runBackup } from '../../../src/backup/run-backup.ts'
import type { Destination } from '../../../src/contracts/destination.ts'
import { CatalogUnavailableError, DestinationPermissionDeniedError, DestinationUnreachableError, ManifestMissingError, StoreUnavailableError } from '../../../src/errors/errors.ts'
import { findHolders, Holds } from '../../../src/gc/holds/holds.ts'
import { directoryUnionStore } from '../../../src/gc/holds/union-store.ts'
import { directoryCache, type PayloadIdsCache } from '../../../src/gc/leases/payload-ids-cache.ts'
import { sweepPayloads } from '../../../src/gc/sweep/sweep-payloads.ts'
import { type SweepState, sweepStateFile } from '../../../src/gc/sweep-state.ts'
import { systemError } from '../../../src/util/files.ts'
import { fsDestination } from '../../../destinations/fs/index.ts'
import { altered } from '../../support/altered.ts'
import { FakeStore } from '../../support/fake-store.ts'
import { quickFiles } from '../../support/faulty-files.ts'
import { flipped, tamper } from '../../backup/backups.ts'
import { type HoldsPlace, newHolds } from '../holds.ts'
import { PayloadMap, referencesTo } from '../payload-map.ts'

interface Scene extends HoldsPlace {
  readonly payloads: PayloadMap
  readonly backupIds: readonly string[]
  /** What the store refers to. */
  readonly live: Set<string>
}

/** Two backups, of p0 to p2 and of p0 to p4; the store refers to none of them any more, and to live; garbage nobody needs. */
async function newScene(options?: Parameters<typeof newHolds>[0]): Promise<Scene> {
  const place = await newHolds(options)
  const { destination, catalog } = place
  const backupIds: string[] = []
  for (const count of [3, 5]) backupIds.push((await runBackup({ store: FakeStore.of(count), destination, catalog })).backupId)
  return { ...place, payloads: new PayloadMap(['garbage', 'live', 'p0', 'p1', 'p2', 'p3', 'p4']), backupIds, live: new Set(['live']) }
}

async function sweep({ payloads, holds, live }: Scene, changed?: Holds): Promise<unknown> {
  return await sweepPayloads({ payloads, stores: [referencesTo(() => live)], holds: changed ?? holds, minAgeMs: 0 })
}

const ALL = ['garbage', 'live', 'p0', 'p1', 'p2', 'p3', 'p4']
const refused = (): never => {
  throw new DestinationPermissionDeniedError('Not permitted')
}

/** By name: what is made of the destination, or done to what is stored. */
const FAULTS: Readonly<Record<string, { readonly destination?: (destination: Destination) => Destination; readonly damage?: (scene: Scene) => void }>> = {
  'the list is refused': { destination: (destination) => altered(destination, { list: refused }) },
  'the list breaks off': {
    destination: (destination) =>
      altered(destination, {
        async *list() {
          for await (const backupId of destination.list()) {
            yield backupId
            throw new DestinationUnreachableError('Broken off')
          }
        },
      }),
  },
  'the list is empty': { destination: (destination) => altered(destination, { async *list() {} }) },
  'the list lacks a backup': {
    destination: (destination) =>
      altered(destination, {
        async *list() {
          for await (const backupId of destination.list()) {
            yield backupId
            break
          }
        },
      }),
  },
  'a manifest is refused': { destination: (destination) => altered(destination, { manifest: async () => refused() }) },
  'a manifest is missing, and its backup is listed': { destination: (destination) => altered(destination, { manifest: () => Promise.reject(new ManifestMissingError('Not there')) }) },
  'the payload IDs are refused': { destination: (destination) => altered(destination, { open: refused }) },
  'the root is gone': { damage: ({ path }) => rmSync(path, { recursive: true }) },
  'a manifest is not JSON': { damage: ({ path, backupIds }) => tamper(join(path, backupIds[0] ?? '', 'manifest.json'), () => Buffer.from('{')) },
  'a manifest is of a newer version': {
    damage: ({ path, backupIds }) => tamper(join(path, backupIds[0] ?? '', 'manifest.json'), (bytes) => Buffer.from(bytes.toString().replace('"manifestVersion": 1', '"manifestVersion": 2'))),
  },
  'a manifest is not the one that the catalog recorded': {
    damage: ({ path, backupIds }) => tamper(join(path, backupIds[0] ?? '', 'manifest.json'), (bytes) => Buffer.from(bytes.toString().replace('"labels": {}', '"labels": { "a": "b" }'))),
  },
  'the payload IDs are missing': { damage: ({ path, backupIds }) => rmSync(join(path, backupIds[1] ?? '', 'payload-ids')) },
  'the payload IDs are cut short': { damage: ({ path, backupIds }) => tamper(join(path, backupIds[1] ?? '', 'payload-ids'), (bytes) => bytes.subarray(0, -1)) },
  'the payload IDs have a flipped bit': { damage: ({ path, backupIds }) => tamper(join(path, backupIds[1] ?? '', 'payload-ids'), (bytes) => flipped(bytes, 8 * (bytes.byteLength - 1))) },
}

describe('sweepPayloads()', () => {
  test('deletes what neither the store nor a backup needs, where all sources can be read', async () => {
    const scene = await newScene()
    expect(await sweep(scene)).toMatchObject({ deleted: { payloads: 1, bytes: 10 }, held: { payloads: 5 }, live: { payloads: 1 } })
    expect(scene.payloads.ids).toEqual(ALL.filter((payloadId) => payloadId !== 'garbage'))
  })

  test.each(Object.entries(FAULTS))('deletes nothing when %s, and goes on when that is over', async (_, { destination, damage }) => {
    let isBroken = true
    const scene = await newScene({
      destinations: (whole) => {
        const broken = destination?.(whole) ?? whole
        const now = (): Destination => (isBroken ? broken : whole)
        return [altered(whole, { list: (options) => now().list(options), manifest: (backupId, options) => now().manifest(backupId, options), open: (backupId, object, options) => now().open(backupId, object, options) })]
      },
    })
    damage?.(scene)
    await expect(sweep(scene)).rejects.toMatchObject({ code: 'hold_unavailable' })
    expect(scene.payloads.ids).toEqual(ALL)
    if (damage !== undefined) return
    isBroken = false
    await sweep(scene)
    expect(scene.payloads.ids).not.toContain('garbage')
  })

  test('says of an altered backup that it is one, and goes on when it is recorded anew', async () => {
    const scene = await newScene()
    const { destination, catalog, path, backupIds } = scene
    // An attacker who lets a backup hold less than it did.
    const [small = '', large = ''] = backupIds
    const [few, many] = [small, large].map((backupId) => JSON.parse(readFileSync(join(path, backupId, 'manifest.json'), 'utf8')) as Manifest)
    const objects = { ...many?.objects, 'payload-ids': few?.objects?.['payload-ids'] }
    tamper(join(path, large, 'manifest.json'), () => Buffer.from(JSON.stringify({ ...many, payloadIds: few?.payloadIds, objects })))
    tamper(join(path, large, 'payload-ids'), () => readFileSync(join(path, small, 'payload-ids')))
    await expect(sweep(scene)).rejects.toMatchObject({ code: 'hold_unavailable', retryable: false, cause: { code: 'backup_altered', details: { backupId: large, fields: ['payloadIds', 'objects'] } } })
    expect(scene.payloads.ids).toEqual(ALL)
    await rebuildCatalog({ catalog, destinations: [destination] })
    await sweep(scene)
    expect(scene.payloads.ids).toEqual(['live', 'p0', 'p1', 'p2'])
  })

  test.each(['leases', 'backups', 'holdGeneration', 'append'] as const)('deletes nothing when the catalog fails at %s', async (method) => {
    const scene = await newScene()
    const broken = (): never => {
      throw new CatalogUnavailableError('The disk is gone')
    }
    const { holds } = scene
    const leases = altered(holds.leases, { catalog: altered(scene.catalog, { [method]: broken }) })
    if (method === 'leases' || method === 'backups') {
      const failing = altered(holds, { find: async (options) => await findWith({ ...scene, catalog: leases.catalog }, options) })
      await expect(sweep(scene, failing)).rejects.toMatchObject({ code: 'hold_unavailable' })
    } else {
      const session = { sweepId: 'x', generation: broken, end: async () => {} }
      const failing = altered(holds, { leases: altered(holds.leases, { beginSweep: async () => session as never }) })
      await expect(sweep(scene, failing)).rejects.toMatchObject({ code: 'catalog_unavailable' })
    }
    expect(scene.payloads.ids).toEqual(ALL)
  })

  test('deletes nothing when the store cannot be read, at its first step or later', async () => {
    const scene = await newScene()
    for (const good of [0, 2000]) {
      const store = {
        storeId: 'store',
        async *payloadIds() {
          for (let index = 0; index < good; index++) yield `a${String(index).padStart(8, '0')}`
          throw new StoreUnavailableError('Cannot be read')
        },
      }
      await expect(sweepPayloads({ payloads: scene.payloads, stores: [store], holds: scene.holds, minAgeMs: 0 })).rejects.toMatchObject({ code: 'hold_unavailable' })
    }
    expect(scene.payloads.ids).toEqual(ALL)
  })

  test('deletes nothing when a store or the payload store gives IDs out of order', async () => {
    const scene = await newScene()
    const store = {
      storeId: 'store',
      async *payloadIds() {
        yield* ['live', 'a']
      },
    }
    await expect(sweepPayloads({ payloads: scene.payloads, stores: [store], holds: scene.holds, minAgeMs: 0 })).rejects.toThrow(/comes after/)
    const list = async function* (): AsyncGenerator<never[]> {
      yield [...scene.payloads.payloads.values()].toReversed() as never[]
    }
    await expect(sweep({ ...scene, payloads: altered(scene.payloads, { list }) })).rejects.toMatchObject({ code: 'internal' })
    expect(scene.payloads.ids).toEqual(ALL)
  })

  test('deletes nothing when the catalog has a backup at a destination that is not given', async () => {
    const scene = await newScene()
    const elsewhere = fsDestination({ path: join(scene.directory, 'elsewhere'), files: quickFiles })
    await runBackup({ store: FakeStore.of(1), destination: elsewhere, catalog: scene.catalog })
    await expect(sweep(scene)).rejects.toMatchObject({ code: 'hold_unavailable', details: { destination: elsewhere.url } })
    expect(scene.payloads.ids).toEqual(ALL)
  })

  test('deletes nothing when a deletion was cut off and no backup is listed: the destination may be another', async () => {
    const scene = await newScene({ destinations: (destination) => [altered(destination, { async *list() {} })] })
    const { destination, catalog, backupIds } = scene
    const at = new Date().toISOString()
    for (const backupId of backupIds) await catalog.append({ type: 'backup-deletion-started', at, backupId, destination: destination.url })
    await expect(sweep(scene)).rejects.toMatchObject({ code: 'hold_unavailable' })
    expect(scene.payloads.ids).toEqual(ALL)
  })

  test('deletes what a deleted backup alone needed', async () => {
    const scene = await newScene()
    const { destination, catalog, backupIds } = scene
    await deleteBackup({ destination, backupId: backupIds[1] ?? '', catalog })
    await sweep(scene)
    expect(scene.payloads.ids).toEqual(['live', 'p0', 'p1', 'p2'])
  })
})

describe('the copies of sets on local disk', () => {
  test('that cannot be deleted do not end a sweep: they cost space alone', async () => {
    const scene = await newScene()
    const cache = altered(directoryCache({ directory: join(scene.directory, 'copies') }), { retain: () => Promise.reject(systemError('EACCES', 'unlink', 'copies')) })
    const unions = directoryUnionStore(join(scene.directory, 'other-union'))
    const { leases, steadyClock } = scene.holds
    const stateOf = (): SweepState => sweepStateFile(join(scene.directory, 'other-marks'))
    await sweep(scene, new Holds({ leases, destinations: [scene.destination], cache, unions, stateOf, steadyClock }))
    expect(scene.payloads.ids).toEqual(['live', 'p0', 'p1', 'p2', 'p3', 'p4'])
  })

  test('stay where findHolders() reads them, whatever they are of', async () => {
    const { catalog, destination, directory, backupIds } = await newScene()
    const copies = join(directory, 'copies')
    mkdirSync(copies)
    const old = join(copies, `${'0'.repeat(64)}.payload-ids`)
    writeFileSync(old, 'old')
    utimesSync(old, 1, 1)
    const holders = await findHolders({ catalog, destinations: [destination], cache: directoryCache({ directory: copies }) })
    expect(holders).toMatchObject(backupIds.map((backupId) => ({ kind: 'backup', backupId })))
    expect(readdirSync(copies)).toEqual([basename(old)])
  })

  test('need all methods of a cache', async () => {
    const cache: Partial<PayloadIdsCache> = { get: () => Promise.resolve(undefined), put: () => Promise.resolve() }
    await expect(findHolders({ catalog: undefined, destinations: [], cache: cache as PayloadIdsCache })).rejects.toThrow(TypeError)
  })
})

async function findWith({ catalog, destination }: Scene, options: object | undefined): Promise<never> {
  const { findHolds } = await import('../../../src/gc/holds/hold-set.ts')
  return (await findHolds({ catalog, destinations: [destination] }, options)) as never
}
