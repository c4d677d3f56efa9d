import { cp, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { MemoryLevel } from 'memory-level'
import { describe, expect, it, onTestFinished } from 'vitest'
import { fsDestination } from '../../destinations/fs/index.ts'
import { newUlid } from '../../src/util/ulid.ts'
import { verifyBackup } from '../../src/repository/verify-backup.ts'
import { checkTree } from '../../src/metadata/check-tree.ts'
import { restoreBackup } from '../../src/restore/restore-backup.ts'
import type { Manifest } from '../../src/contracts/manifest.ts'
import { findContentCheck } from '../../src/registry/content-checks.ts'
import { parseManifest } from '../../src/format/manifest.ts'
import { LevelMetadataStore, openLevelStore } from '../../src/stores/level/index.ts'
import { openMemoryStore } from '../../src/stores/memory/index.ts'
import { type Backup, takeBackup } from '../restore/publish.ts'
import { dump } from '../restore/trees.ts'
import { GOLDEN_STORE_ID, openGoldenStore } from '../support/golden-store.ts'
import { chunksOf, readStreamWhole } from '../support/streams.ts'
import { tempDir } from '../support/temp-dir.ts'

const FIXTURES = join(import.meta.dirname, '../../fixtures')
const BACKUP_ID = '01JGZ7GK3G0000000000000001'

const golden = (...path: string[]): Promise<Buffer> => readFile(join(FIXTURES, ...path))
const records = async (payload: Buffer): Promise<unknown> => {
  const { data, summary } = await readStreamWhole(chunksOf(payload))
  const sections = Object.keys(summary.records)
  return data.flatMap(({ section, records }) => records.map((record) => [sections[section], ...record]))
}

async function goldenDump(): Promise<unknown> {
  return JSON.parse(String(await golden('v1-metadata-store', 'dump.json'))) as unknown
}

/** A destination whose only backup is the golden one. */
async function publishedGolden(name: string): Promise<ReturnType<typeof fsDestination>> {
  const path = await tempDir()
  await cp(join(FIXTURES, name), join(path, BACKUP_ID), { recursive: true })
  return fsDestination({ path })
}

const ENGINES = {
  Memory: async () => new MemoryLevel({ keyEncoding: 'utf8', valueEncoding: 'utf8' }),
  LevelDB: async () => new ClassicLevel(join(await tempDir(), 'db'), { keyEncoding: 'utf8', valueEncoding: 'utf8' }),
}
const STORES = { Memory: () => openMemoryStore(), LevelDB: async () => await openLevelStore(join(await tempDir(), 'store')) }

describe.each(['v1-metadata-store', 'v1-named-metadata-store'])('golden %s, a store of schema version 1 with records of every kind', (name) => {
  it('has records in every section, and they are those of its manifest', async () => {
    const manifest = parseManifest(await golden(name, 'manifest.json'), BACKUP_ID)
    const { summary } = await readStreamWhole(chunksOf(await golden(name, 'payload')))
    expect(summary).toMatchObject({ storeId: GOLDEN_STORE_ID, storeKind: 'level', schemaVersion: 1, records: manifest.records })
    expect(Object.entries(manifest.records).filter(([, count]) => count === 0)).toEqual([])
  })

  it.each(Object.entries(ENGINES))('restores into %s for ever, and is the store of its dump', async (_, open) => {
    const store = await LevelMetadataStore.open(await open(), { kind: 'memory' })
    onTestFinished(() => store.close())
    await store.restore(chunksOf(await golden(name, 'payload'), [1000]))
    expect(JSON.parse(await dump(store))).toEqual(await goldenDump())
    expect(await checkTree(store)).toEqual([])
    await checkNewNumbers(store)
  })

  it.each(Object.entries(STORES))('is brought back into a live %s store by restoreBackup(), and backed up again with the same records', async (_, open) => {
    const store = await open()
    onTestFinished(() => store.close())
    await restoreBackup({ target: store, destination: await publishedGolden(name), backupId: BACKUP_ID, allowStoreId: true })
    expect(JSON.parse(await dump(store))).toEqual(await goldenDump())
    const again: Backup = await takeBackup(store)
    expect(await records(again.payload)).toEqual(await records(await golden(name, 'payload')))
    expect(again.payloadIds.equals(await golden(name, 'payload-ids'))).toBe(true)
  })

  it('is verified at level "content"', async () => {
    const verified = await verifyBackup({ destination: await publishedGolden(name), backupId: BACKUP_ID, contentCheck: findContentCheck })
    expect(verified).toMatchObject({ level: 'content', checkedContent: 'all' })
  })

  it('is verified at level "restore"', async () => {
    await using home = await openMemoryStore()
    const openTrial = (): ReturnType<typeof home.openSide> => home.openSide(newUlid(), { storeId: 'trial' })
    const { manifest } = await verifyBackup({ destination: await publishedGolden(name), backupId: BACKUP_ID, level: 'restore', openTrial })
    expect(manifest.storeId).toBe(GOLDEN_STORE_ID)
    expect((await home.engines()).leftovers).toEqual([])
  })

  it('has the records that this release writes for the same store', async () => {
    const store = await openGoldenStore()
    onTestFinished(() => store.close())
    expect(await records((await takeBackup(store)).payload)).toEqual(await records(await golden(name, 'payload')))
  })
})

describe('golden v1-named-metadata-store', () => {
  it('names its backup in the stream, and its content and objects in the manifest', async () => {
    const name = 'v1-named-metadata-store'
    const { summary } = await readStreamWhole(chunksOf(await golden(name, 'payload')))
    const { payload, payloadIds, ...manifest } = JSON.parse(String(await golden(name, 'manifest.json'))) as Manifest
    const { bytes, sha256 } = payloadIds
    expect(summary.backupId).toBe(BACKUP_ID)
    expect(manifest).toMatchObject({ backupId: BACKUP_ID, content: 'records', objects: { payload, 'payload-ids': { bytes, sha256 } } })
    expect(payloadIds.set).toBe(sha256)
  })
})

/** Inode numbers and names that the restored store has are not given again. */
async function checkNewNumbers(store: LevelMetadataStore): Promise<void> {
  const { root } = (await store.share('share')) ?? { root: 0 }
  const { inode } = await store.create({ parent: root, name: 'later' }, { type: 'file' })
  expect(Object.keys(((await goldenDump()) as { inodes: object }).inodes)).not.toContain(String(inode))
  await expect(store.create({ parent: root, name: 'é' }, { type: 'file' })).rejects.toMatchObject({ code: 'entry_exists' })
}
