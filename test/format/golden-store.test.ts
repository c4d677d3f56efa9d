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
import { parseManifest } from '../../src/format/manifest.ts'
import { LevelMetadataStore, openLevelStore } from '../../src/stores/level/index.ts'
import { openMemoryStore } from '../../src/stores/memory/index.ts'
import { type Backup, takeBackup } from '../restore/publish.ts'
import { dump } from '../restore/trees.ts'
import { GOLDEN_STORE_ID, openGoldenStore } from '../support/golden-store.ts'
import { chunksOf, readStreamWhole } from '../support/streams.ts'
import { tempDir } from '../support/temp-dir.ts'

const GOLDEN = join(import.meta.dirname, '../../fixtures/v1-metadata-store')
const BACKUP_ID = '01JGZ7GK3G0000000000000001'

const golden = (name: string): Promise<Buffer> => readFile(join(GOLDEN, name))
const records = async (payload: Buffer): Promise<unknown> => {
  const { data, summary } = await readStreamWhole(chunksOf(payload))
  const sections = Object.keys(summary.records)
  return data.flatMap(({ section, records }) => records.map((record) => [sections[section], ...record]))
}

async function goldenDump(): Promise<unknown> {
  return JSON.parse(String(await golden('dump.json'))) as unknown
}

/** A destination whose only backup is the golden one. */
async function publishedGolden(): Promise<ReturnType<typeof fsDestination>> {
  const path = await tempDir()
  await cp(GOLDEN, join(path, BACKUP_ID), { recursive: true })
  return fsDestination({ path })
}

const ENGINES = {
  Memory: async () => new MemoryLevel({ keyEncoding: 'utf8', valueEncoding: 'utf8' }),
  LevelDB: async () => new ClassicLevel(join(await tempDir(), 'db'), { keyEncoding: 'utf8', valueEncoding: 'utf8' }),
}
const STORES = { Memory: () => openMemoryStore(), LevelDB: async () => await openLevelStore(join(await tempDir(), 'store')) }

describe('golden v1-metadata-store, a store of schema version 1 with records of every kind', () => {
  it('has records in every section, and they are those of its manifest', async () => {
    const manifest = parseManifest(await golden('manifest.json'), BACKUP_ID)
    const { summary } = await readStreamWhole(chunksOf(await golden('payload')))
    expect(summary).toMatchObject({ storeId: GOLDEN_STORE_ID, storeKind: 'level', schemaVersion: 1, records: manifest.records })
    expect(Object.entries(manifest.records).filter(([, count]) => count === 0)).toEqual([])
  })

  it.each(Object.entries(ENGINES))('restores into %s for ever, and is the store of its dump', async (_, open) => {
    const store = await LevelMetadataStore.open(await open(), { kind: 'memory' })
    onTestFinished(() => store.close())
    await store.restore(chunksOf(await golden('payload'), [1000]))
    expect(JSON.parse(await dump(store))).toEqual(await goldenDump())
    expect(await checkTree(store)).toEqual([])
    await goesOn(store)
  })

  it.each(Object.entries(STORES))('is brought back into a live %s store by restoreBackup(), and backed up again with the same records', async (_, open) => {
    const store = await open()
    onTestFinished(() => store.close())
    await restoreBackup({ target: store, destination: await publishedGolden(), backupId: BACKUP_ID, allowStoreId: true })
    expect(JSON.parse(await dump(store))).toEqual(await goldenDump())
    const again: Backup = await takeBackup(store)
    expect(await records(again.payload)).toEqual(await records(await golden('payload')))
    expect(again.payloadIds.equals(await golden('payload-ids'))).toBe(true)
  })

  it('is verified at level "restore"', async () => {
    await using home = await openMemoryStore()
    const openTrial = (): ReturnType<typeof home.openSide> => home.openSide(newUlid(), { storeId: 'trial' })
    const { manifest } = await verifyBackup({ destination: await publishedGolden(), backupId: BACKUP_ID, level: 'restore', openTrial })
    expect(manifest.storeId).toBe(GOLDEN_STORE_ID)
    expect((await home.engines()).leftovers).toEqual([])
  })

  it('has the records that this release writes for the same store', async () => {
    const store = await openGoldenStore()
    onTestFinished(() => store.close())
    expect(await records((await takeBackup(store)).payload)).toEqual(await records(await golden('payload')))
  })
})

/** Inode numbers and names that the restored store has are not given again. */
async function goesOn(store: LevelMetadataStore): Promise<void> {
  const { root } = (await store.share('share')) ?? { root: 0 }
  const { inode } = await store.create({ parent: root, name: 'later' }, { type: 'file' })
  expect(Object.keys(((await goldenDump()) as { inodes: object }).inodes)).not.toContain(String(inode))
  await expect(store.create({ parent: root, name: 'é' }, { type: 'file' })).rejects.toMatchObject({ code: 'entry_exists' })
}
