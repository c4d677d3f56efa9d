import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { runBackup } from '../../src/backup/run-backup.ts'
import type { Catalog, CatalogEvent } from '../../src/contracts/catalog.ts'
import { DestinationUnreachableError } from '../../src/errors/errors.ts'
import { rebuildCatalog } from '../../src/repository/rebuild-catalog.ts'
import { openRepository } from '../../src/repository/repository.ts'
import { newUlid } from '../../src/util/ulid.ts'
import { newPlace, type Place, tamper } from '../backup/backups.ts'
import { altered } from '../support/altered.ts'
import { collect } from '../support/collect.ts'
import { FakeStore } from '../support/fake-store.ts'

interface Scene extends Place {
  readonly ids: readonly string[]
  /** Rewrites the manifest of a backup. */
  readonly rewrite: (backupId: string, change: (text: string) => string) => void
}

async function withBackups(count: number): Promise<Scene> {
  const place = await newPlace()
  const ids: string[] = []
  for (let at = 0; at < count; at++) ids.push((await runBackup({ store: FakeStore.of(5), destination: place.destination, catalog: place.catalog })).backupId)
  const rewrite: Scene['rewrite'] = (backupId, change) => tamper(join(place.path, backupId, 'manifest.json'), (bytes) => Buffer.from(change(bytes.toString())))
  return { ...place, ids, rewrite }
}

const labelled = (text: string): string => text.replace('"labels": {}', '"labels": { "a": "b" }')
const newer = (text: string): string => text.replace('"manifestVersion": 1', '"manifestVersion": 3')
const ALTERED = { code: 'backup_altered' }

/** A catalog as releases up to 0.1.0 wrote it: without digests of manifests. */
async function withoutDigests(catalog: Catalog): Promise<Catalog> {
  const old = (await newPlace()).catalog
  for await (const { backupId, destination, manifest, how, recordedAt } of catalog.backups()) {
    const event: CatalogEvent = { type: 'backup-recorded', at: recordedAt, backupId, destination, manifest, how }
    await old.append(event)
  }
  return old
}

describe('Repository list()', () => {
  test('says of each backup what it is, in ascending order', async () => {
    const { destination, catalog, path, ids, rewrite } = await withBackups(6)
    const [readable = '', altered_ = '', later = '', damaged = '', gone = '', unreachable = ''] = ids
    rewrite(altered_, labelled)
    rewrite(later, newer)
    rewrite(damaged, (text) => text.slice(1))
    rmSync(join(path, gone, 'manifest.json'))
    const stillListing = altered(destination, {
      list: async function* () {
        yield* ids
      },
      manifest: async (backupId, options) => {
        if (backupId === unreachable) throw new DestinationUnreachableError('Out of reach')
        return await destination.manifest(backupId, options)
      },
    })
    const found = await collect(openRepository(stillListing, { catalog }).list())
    expect(found).toMatchObject([
      { state: 'readable', backupId: readable, backup: { backupId: readable }, recorded: { backupId: readable, destination: destination.url } },
      { state: 'altered', backupId: altered_, backup: { backupId: altered_ }, error: ALTERED },
      { state: 'newer', backupId: later, error: { code: 'manifest_version_unsupported' } },
      { state: 'damaged', backupId: damaged, error: { code: 'manifest_invalid' } },
      { state: 'gone', backupId: gone },
      { state: 'unreachable', backupId: unreachable, error: { code: 'destination_unreachable' } },
    ])
    const withoutCatalog = await collect(openRepository(stillListing).list())
    expect(withoutCatalog.map(({ state }) => state)).toEqual(['readable', 'readable', 'newer', 'damaged', 'gone', 'unreachable'])
  })

  test('names what the catalog has and the destination lacks, not what came or was deleted while it was read, nor what only a sweep recorded', async () => {
    const { destination, catalog, path, ids } = await withBackups(6)
    const [missing = '', there = '', late = '', deleted = '', swept = '', last = ''] = ids
    const at = new Date().toISOString()
    const place = { at, destination: destination.url }
    const recorded = await catalog.backup(swept, destination.url)
    if (recorded === undefined) throw new Error('A backup was not recorded')
    await catalog.append({ type: 'backup-deleted', ...place, backupId: swept })
    await catalog.append({ type: 'backup-recorded', ...place, backupId: swept, manifest: recorded.manifest, manifestSha256: recorded.manifestSha256, how: 'sweep' })
    for (const backupId of [missing, deleted, swept, last]) rmSync(join(path, backupId), { recursive: true })
    const reading = altered(destination, {
      list: async function* () {
        yield there
        await catalog.append({ type: 'backup-deleted', ...place, backupId: deleted })
      },
    })
    expect(await collect(openRepository(reading, { catalog }).list())).toMatchObject([
      { state: 'missing', backupId: missing, error: { code: 'manifest_missing', details: { backupId: missing } } },
      { state: 'readable', backupId: there },
      { state: 'readable', backupId: late, backup: { backupId: late } },
      { state: 'gone', backupId: deleted },
      { state: 'missing', backupId: last },
    ])
    expect(await collect(openRepository(destination, { catalog }).list({ after: late }))).toMatchObject([{ state: 'missing', backupId: last }])
    expect(await collect(openRepository(destination).list())).toMatchObject([{ backupId: there }, { backupId: late }])
  })

  test('continues after an ID, and reads no manifest before it', async () => {
    const { destination, ids } = await withBackups(3)
    const read: string[] = []
    const watched = altered(destination, {
      manifest: async (backupId, options) => {
        read.push(backupId)
        return await destination.manifest(backupId, options)
      },
    })
    expect((await collect(openRepository(watched).list({ after: ids[0] }))).map(({ backupId }) => backupId)).toEqual(ids.slice(1))
    expect(read.toSorted()).toEqual(ids.slice(1))
    expect(await collect(openRepository(watched).list({ after: ids[2] }))).toEqual([])
  })

  test('reads at most 16 manifests at once, and keeps their order however long each takes', async () => {
    const { destination, ids } = await withBackups(1)
    const bytes = await destination.manifest(ids[0] ?? '')
    const many = Array.from({ length: 40 }, () => newUlid())
    let running = 0
    let most = 0
    const slow = altered(destination, {
      list: async function* () {
        yield* many
      },
      manifest: async (backupId) => {
        running += 1
        most = Math.max(most, running)
        await new Promise((resolve) => setTimeout(resolve, many.indexOf(backupId) % 3))
        running -= 1
        return Buffer.from(Buffer.from(bytes).toString().replace(ids[0] ?? '', backupId))
      },
    })
    const found = await collect(openRepository(slow).list())
    expect(found.map(({ backupId, state }) => [backupId, state])).toEqual(many.map((backupId) => [backupId, 'readable']))
    expect(most).toBe(16)
  })

  test('rejects when the list breaks off, with the reason of its signal, and when the catalog cannot be asked', async () => {
    const { destination, catalog, ids } = await withBackups(2)
    const broken = altered(destination, {
      list: async function* () {
        yield ids[0] ?? ''
        throw new DestinationUnreachableError('Broken off')
      },
    })
    await expect(collect(openRepository(broken).list())).rejects.toMatchObject({ code: 'destination_unreachable' })
    await expect(collect(openRepository(destination).list({ signal: AbortSignal.abort('no') }))).rejects.toBe('no')
    const failing = altered(catalog, { backup: () => Promise.reject(new Error('The disk is gone')) })
    await expect(collect(openRepository(destination, { catalog: failing }).list())).rejects.toThrow('The disk is gone')
  })
})

describe('Repository open()', () => {
  test('gives the manifest, read once, and the digest of its bytes', async () => {
    const { destination, catalog, ids } = await withBackups(1)
    const [backupId = ''] = ids
    let reads = 0
    const watched = altered(destination, {
      manifest: async (id, options) => {
        reads += 1
        return await destination.manifest(id, options)
      },
    })
    const repository = openRepository(watched, { catalog })
    const backup = await repository.open(await repository.resolve('latest'))
    await backup.checkSizes()
    await collect(backup.records())
    await backup.checkPayloadIds()
    expect({ reads, url: backup.url, manifest: backup.manifest }).toEqual({ reads: 1, url: destination.url, manifest: (await catalog.backup(backupId, destination.url))?.manifest })
    expect(backup.manifestSha256).toBe((await catalog.backup(backupId, destination.url))?.manifestSha256)
    await repository.verify(backupId)
    expect(reads).toBe(2)
  })

  test.each([
    ['another label', labelled, ['labels']],
    ['another store and payload', (text: string) => text.replace('fake-store', 'other-one').replace(/"payload": \{\s+"bytes": \d+/, '"payload": { "bytes": 1').replace(/"objects": \{[^]*?\}\s*\},/, ''), ['storeId', 'payload', 'objects']],
    ['the same values, written otherwise', (text: string) => `${text} `, []],
  ])('refuses a backup whose manifest has %s, and opens it when told to', async (_, change, fields) => {
    const { destination, catalog, ids, rewrite } = await withBackups(1)
    const [backupId = ''] = ids
    const recorded = (await catalog.backup(backupId, destination.url))?.manifestSha256
    rewrite(backupId, change)
    const repository = openRepository(destination, { catalog })
    const { manifestSha256: actual } = await repository.open(backupId, { allowAltered: true })
    expect(actual).not.toBe(recorded)
    await expect(repository.open(backupId)).rejects.toMatchObject({ ...ALTERED, retryable: false, httpStatus: 422, details: { backupId, destination: destination.url, expected: recorded, actual, fields } })
    await openRepository(destination).open(backupId)
  })

  test('compares the values with what an earlier release recorded', async () => {
    const { destination, catalog, ids, rewrite } = await withBackups(2)
    const [same = '', changed = ''] = ids
    const old = await withoutDigests(catalog)
    rewrite(same, (text) => `${text} `)
    rewrite(changed, labelled)
    const repository = openRepository(destination, { catalog: old })
    await repository.open(same)
    await expect(repository.open(changed)).rejects.toMatchObject({ ...ALTERED, details: { expected: undefined, fields: ['labels'] } })
  })

  test('a backup that is not recorded, or was deleted and is there again, may be anything', async () => {
    const { destination, catalog, ids, rewrite } = await withBackups(1)
    const [backupId = ''] = ids
    rewrite(backupId, labelled)
    await openRepository(destination, { catalog: (await newPlace()).catalog }).open(backupId)
    await catalog.append({ type: 'backup-deleted', at: new Date().toISOString(), backupId, destination: destination.url })
    await openRepository(destination, { catalog }).open(backupId)
  })
})

describe('a backup that is not as the catalog recorded it', () => {
  test('does not verify, which is recorded; recording it anew makes it good again', async () => {
    const { destination, catalog, ids, rewrite } = await withBackups(1)
    const [backupId = ''] = ids
    rewrite(backupId, labelled)
    const repository = openRepository(destination, { catalog })
    await expect(repository.verify(backupId)).rejects.toMatchObject(ALTERED)
    expect((await catalog.backup(backupId, destination.url))?.verification).toMatchObject({ error: ALTERED })
    const place = { backupId, destination: destination.url }
    expect(await rebuildCatalog({ catalog, destinations: [destination] })).toEqual({ recorded: [], altered: [place], known: 0, unreadable: [], missing: [] })
    expect(await rebuildCatalog({ catalog, destinations: [destination] })).toMatchObject({ altered: [], known: 1 })
    expect((await repository.open(backupId)).manifest.labels).toEqual({ a: 'b' })
    await repository.verify(backupId)
  })

  test('is not good, and is not deleted unless forced', async () => {
    const { destination, catalog, ids, rewrite } = await withBackups(2)
    const [first = '', second = ''] = ids
    rewrite(first, labelled)
    const repository = openRepository(destination, { catalog })
    await expect(repository.delete([first])).rejects.toMatchObject(ALTERED)
    await expect(repository.delete([second])).rejects.toMatchObject({ code: 'backup_protected' })
    expect(await collect(destination.list())).toEqual(ids)
    await repository.delete([first], { force: true })
    expect(await collect(destination.list())).toEqual([second])
  })
})
