import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MemoryLevel } from 'memory-level'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fsDestination } from '../../destinations/fs/index.ts'
import { runBackup } from '../../src/backup/run-backup.ts'
import { checkBackupPath, diffBackups, listBackupPath, listBackupShares } from '../../src/browse/index.ts'
import { levelCatalog } from '../../src/catalog/level/level-catalog.ts'
import type { Catalog } from '../../src/contracts/catalog.ts'
import type { Destination } from '../../src/contracts/destination.ts'
import type { Manifest } from '../../src/contracts/manifest.ts'
import type { MetadataStore } from '../../src/contracts/metadata-store.ts'
import { openRepository } from '../../src/repository/repository.ts'
import { openMemoryStore } from '../../src/stores/memory/index.ts'

let directory: string
let destination: Destination
let catalog: Catalog
let store: MetadataStore
let first: Manifest
let second: Manifest

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'holdfast-test-'))
  destination = fsDestination({ path: join(directory, 'backups') })
  catalog = await levelCatalog(new MemoryLevel())
  store = await openMemoryStore()
  const { root } = await store.createShare('photos')
  const { inode } = await store.create({ parent: root, name: '2026' }, { type: 'directory' })
  for (const name of ['b', 'a']) await store.create({ parent: inode, name }, { type: 'file', size: 3, content: { payloadId: name } })
  first = (await runBackup({ store, destination, catalog })).manifest
  await store.rename({ parent: inode, name: 'a' }, { parent: root, name: 'z' })
  await store.unlink({ parent: inode, name: 'b' })
  second = (await runBackup({ store, destination, catalog })).manifest
})

afterAll(async () => {
  await store.close()
  await catalog.close()
  await rm(directory, { recursive: true, force: true })
})

describe('listBackupShares() and listBackupPath()', () => {
  it('give shares, directories in name order, and single entries with their attributes', async () => {
    expect(await listBackupShares({ destination, backup: 'latest' })).toMatchObject({ backupId: second.backupId, shares: [{ name: 'photos' }] })
    const { backupId, entries } = await listBackupPath({ destination, backup: first.backupId, path: ['photos', '2026'] })
    expect(backupId).toBe(first.backupId)
    expect(entries).toMatchObject([{ name: 'a', type: 'file', size: 3, links: 1 }, { name: 'b', type: 'file', size: 3 }])
    expect((await listBackupPath({ destination, backup: first.backupId, path: ['photos', '2026', 'b'] })).entries).toMatchObject([{ name: 'b', payloadId: 'b' }])
    expect((await listBackupPath({ destination, backup: second.backupId, path: ['photos', '2026'] })).entries).toEqual([])
  })

  it('end with the reason of an aborted signal', async () => {
    const reason = new Error('enough')
    await expect(listBackupShares({ destination, backup: 'latest', signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })
})

describe('checkBackupPath()', () => {
  it('finds what is there, and refuses what is not', async () => {
    const [before, after] = [await openRepository(destination).open(first.backupId), await openRepository(destination).open(second.backupId)]
    await checkBackupPath(before, { path: ['photos', '2026', 'a'] })
    await expect(checkBackupPath(after, { path: ['photos', '2026', 'a'] })).rejects.toMatchObject({ code: 'entry_not_found' })
    await expect(checkBackupPath(before, { path: ['music'] })).rejects.toMatchObject({ code: 'entry_not_found' })
    await expect(checkBackupPath(before, { path: ['photos', '2026', 'a', 'b'] })).rejects.toMatchObject({ code: 'not_a_directory' })
  })
})

describe('diffBackups()', () => {
  it('tells what was renamed and removed', async () => {
    const { from, to, changes } = await diffBackups({ destination, older: first.backupId, newer: 'latest' })
    expect([from, to]).toEqual([first.backupId, second.backupId])
    expect(changes).toMatchObject([
      { change: 'removed', path: 'photos/2026/b', type: 'file' },
      { change: 'renamed', path: 'photos/z', from: 'photos/2026/a' },
    ])
  })

  it('refuses backups of different stores', async () => {
    await using other = await openMemoryStore()
    const { manifest } = await runBackup({ store: other, destination, catalog })
    await expect(diffBackups({ destination, older: first.backupId, newer: manifest.backupId })).rejects.toMatchObject({ code: 'store_id_mismatch' })
  })
})
