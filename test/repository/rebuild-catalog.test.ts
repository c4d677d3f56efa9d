import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { deleteBackup } from '../../src/repository/delete-backups.ts'
import { runBackup } from '../../src/backup/run-backup.ts'
import { rebuildCatalog } from '../../src/repository/rebuild-catalog.ts'
import { DestinationUnreachableError } from '../../src/errors/errors.ts'
import { newPlace, tamper } from '../backup/backups.ts'
import { altered } from '../support/altered.ts'
import { collect } from '../support/collect.ts'
import { FakeStore } from '../support/fake-store.ts'

describe('rebuildCatalog()', () => {
  test('records what a lost catalog had, as unverified, and nothing twice', async () => {
    const [one, two] = [await newPlace(), await newPlace()]
    const records = []
    for (const { destination, catalog } of [one, one, two]) records.push(await runBackup({ store: FakeStore.of(3), destination, catalog }))
    const { catalog } = await newPlace()
    const destinations = [one.destination, two.destination]
    const seen: string[] = []
    const places = records.map(({ backupId, destination }) => ({ backupId, destination }))
    expect(await rebuildCatalog({ catalog, destinations, onProgress: ({ backupId }) => seen.push(backupId) })).toEqual({ recorded: places, altered: [], known: 0, unreadable: [], missing: [] })
    expect(seen).toEqual(places.map(({ backupId }) => backupId))
    const found = await collect(catalog.backups())
    expect(found).toMatchObject(records.map(({ backupId, manifest }) => ({ backupId, manifest, how: 'rebuild', verifiedAt: undefined })))
    expect(await rebuildCatalog({ catalog, destinations })).toEqual({ recorded: [], altered: [], known: 3, unreadable: [], missing: [] })
    expect(await rebuildCatalog({ catalog: one.catalog, destinations })).toMatchObject({ known: 2, recorded: [places[2]] })
  })

  test('reports what cannot be read, and records the rest', async () => {
    const { destination, path } = await newPlace()
    const ids: string[] = []
    for (let at = 0; at < 3; at++) ids.push((await runBackup({ store: FakeStore.of(3), destination })).backupId)
    tamper(join(path, ids[1] ?? '', 'manifest.json'), () => Buffer.from('{'))
    const { catalog } = await newPlace()
    // oxlint-disable-next-line require-yield -- a list that fails at once
    const broken = altered(destination, { url: 'file:/broken', list: async function* () { throw new DestinationUnreachableError('Out of reach') } })
    const report = await rebuildCatalog({ catalog, destinations: [broken, destination] })
    expect(report.recorded.map(({ backupId }) => backupId)).toEqual([ids[0], ids[2]])
    expect(report.unreadable).toMatchObject([
      { destination: 'file:/broken', backupId: undefined, error: { code: 'destination_unreachable' } },
      { destination: destination.url, backupId: ids[1], error: { code: 'manifest_invalid' } },
    ])
  })

  test('reports backups that are gone, and leaves them in the catalog; those deleted through it are not missed', async () => {
    const { destination, catalog, path } = await newPlace()
    const ids: string[] = []
    for (let at = 0; at < 3; at++) ids.push((await runBackup({ store: FakeStore.of(3), destination, catalog })).backupId)
    rmSync(join(path, ids[0] ?? ''), { recursive: true })
    await deleteBackup({ destination, catalog, backupId: ids[1] ?? '' })
    expect(await rebuildCatalog({ catalog, destinations: [destination] })).toEqual({ recorded: [], altered: [], known: 1, unreadable: [], missing: [{ destination: destination.url, backupId: ids[0] }] })
    expect((await catalog.backup(ids[0] ?? '', destination.url))?.deletedAt).toBeUndefined()
  })

  test('ends with its signal', async () => {
    const { destination, catalog } = await newPlace()
    await runBackup({ store: FakeStore.of(3), destination })
    await expect(rebuildCatalog({ catalog, destinations: [destination], signal: AbortSignal.abort('no') })).rejects.toBe('no')
    expect(await collect(catalog.backups())).toEqual([])
  })
})
