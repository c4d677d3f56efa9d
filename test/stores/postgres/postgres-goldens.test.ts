import { access, cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { fsDestination } from '../../../destinations/fs/index.ts'
import { decodePayloadIds } from '../../../src/payload-ids/payload-id-set.ts'
import { parseManifest } from '../../../src/format/manifest.ts'
import { openSnapshot } from '../../../src/format/snapshot-reader.ts'
import type { SnapshotSummary } from '../../../src/contracts/backupable.ts'
import type { Destination } from '../../../src/contracts/destination.ts'
import type { Manifest } from '../../../src/contracts/manifest.ts'
import { checkTree } from '../../../src/metadata/check-tree.ts'
import { findContentCheck } from '../../../src/registry/content-checks.ts'
import { verifyBackup } from '../../../src/repository/verify-backup.ts'
import { restoreBackup } from '../../../src/restore/restore-backup.ts'
import { postgresBackupable } from '../../../src/stores/postgres/snapshot/postgres-backupable.ts'
import { PostgresMetadataStore } from '../../../src/stores/postgres/store/postgres-metadata-store.ts'
import { CountingSource, snapshotOf } from '../../conformance/backupable-fixture.ts'
import { dump } from '../../restore/trees.ts'
import { GOLDEN_CLOCK_MS, GOLDEN_STORE_ID, fillGoldenStore, goldenBackup } from '../../support/golden-store.ts'
import { dataFrames } from '../../support/rebuilt-stream.ts'
import { chunksOf, collect } from '../../support/streams.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { EVERY_TYPE_PAYLOADS, EVERY_TYPE_ROWS, EVERY_TYPE_TABLES } from './every-type.ts'
import { schemaName, storeIn } from './homes.ts'
import { dropSchema, newSchemaName } from './metadata-stores.ts'
import { dumpSchema, inSchema, newSchema, sharedPool } from './schemas.ts'

const FIXTURES = join(import.meta.dirname, '../../../fixtures')
const BACKUP_ID = '01JGZ7GK3G0000000000000001'

const golden = (...path: string[]): Promise<Buffer> => readFile(join(FIXTURES, ...path))

beforeAll(async () => {
  if (process.env['HOLDFAST_ADD_GOLDENS'] !== undefined) await addMissing()
})

test.each(['v1-postgres', 'v1-named-postgres'])('golden %s is restored, row for row', async (name) => {
  const manifest = parseManifest(await golden(name, 'manifest.json'), BACKUP_ID)
  const [expected, target] = [await everyType(), await everyType()]
  await inSchema(expected.pool, expected.schema, (client) => client.query(EVERY_TYPE_ROWS))
  await target.store.restore(new CountingSource(await golden(name, 'payload'), { chunkBytes: 1000 }))
  expect(await dumpSchema(target.pool, target.schema)).toBe(await dumpSchema(expected.pool, expected.schema))
  const { payloadIds, summary } = await snapshotOf(target.store)
  expect(payloadIds).toEqual(await collect(decodePayloadIds(chunksOf(await golden(name, 'payload-ids')))))
  expect(summary.records).toEqual(manifest.records)
  expect(manifest).toMatchObject({ storeKind: 'postgres', payloadIds: { count: summary.payloadIds.count, sha256: summary.payloadIds.digest } })
})

test('golden v1-named-postgres has the schema.json that a backup writes now, but for the parts of types', async () => {
  const source = await everyType()
  const { bytes } = await snapshotOf(source.store)
  const stored = schemaJsonOf(await golden('v1-named-postgres', 'payload'))
  expect(stored).toMatchObject({ moneyLocale: 'C' })
  expect(schemaJsonOf(Buffer.from(bytes))).toEqual(stored)
})

test('golden v1-named-postgres-store is restored into a live store by restoreBackup(), and is the store of its dump', async () => {
  const target = await storeIn(await schemaName())
  await restoreBackup({ target, destination: await published('v1-named-postgres-store'), backupId: BACKUP_ID, allowStoreId: true })
  expect(JSON.parse(await dump(target))).toEqual(JSON.parse(String(await golden('v1-metadata-store', 'dump.json'))))
  expect(await checkTree(target)).toEqual([])
})

describe.each(['v1-named-postgres', 'v1-named-postgres-store'])('golden %s', (name) => {
  test('is verified at level "content"', async () => {
    const verified = await verifyBackup({ destination: await published(name), backupId: BACKUP_ID, contentCheck: findContentCheck })
    expect(verified).toMatchObject({ level: 'content', checkedContent: 'all' })
  })

  test('names its backup in the stream, and its content and objects in the manifest', async () => {
    const { payload, payloadIds, ...manifest } = JSON.parse(String(await golden(name, 'manifest.json'))) as Manifest
    const { bytes, sha256 } = payloadIds
    const { header } = await openSnapshot(chunksOf(await golden(name, 'payload')))
    expect(header.backupId).toBe(BACKUP_ID)
    expect(manifest).toMatchObject({ backupId: BACKUP_ID, content: 'archive', objects: { payload, 'payload-ids': { bytes, sha256 } } })
    expect(payloadIds.set).toBe(sha256)
  })
})

test('a compressed snapshot, made in a worker, names its backup and is restored, row for row', async () => {
  const [source, target] = [await everyType({ worker: true }), await everyType({ worker: true })]
  await inSchema(source.pool, source.schema, (client) => client.query(EVERY_TYPE_ROWS))
  const chunks: Buffer[] = []
  let summary: SnapshotSummary | undefined
  const set = await source.store.backup(
    {
      write: async (chunk) => void chunks.push(Buffer.from(chunk)),
      finish: async (written) => {
        summary = written
      },
    },
    { backupId: BACKUP_ID, compress: 'zstd' },
  )
  await set.close()
  expect(summary).toMatchObject({ backupId: BACKUP_ID, compression: 'zstd' })
  await target.store.restore(chunksOf(Buffer.concat(chunks)))
  expect(await dumpSchema(target.pool, target.schema)).toBe(await dumpSchema(source.pool, source.schema))
})

/** The first entry of the archive in a stream, without what the golden backups are too old to have. */
function schemaJsonOf(stream: Buffer): unknown {
  const [entry] = dataFrames(stream)
  return JSON.parse(String(entry?.raw.subarray(512)).replace(/\0+$/, ''), (key, value: unknown) => (key === 'parts' ? undefined : value))
}

async function everyType({ worker = false } = {}): Promise<{ pool: Awaited<ReturnType<typeof sharedPool>>; schema: string; store: ReturnType<typeof postgresBackupable> }> {
  const pool = await sharedPool()
  const { schema, drop } = await newSchema(pool, EVERY_TYPE_TABLES)
  onTestFinished(drop)
  return { pool, schema, store: postgresBackupable(pool, { schema, payloadIds: EVERY_TYPE_PAYLOADS, schemaVersion: 1, storeId: 'golden-store', worker }) }
}

/** A destination whose only backup is the golden one. */
async function published(name: string): Promise<Destination> {
  const path = await tempDir()
  await cp(join(FIXTURES, name), join(path, BACKUP_ID), { recursive: true })
  return fsDestination({ path })
}

/** Writes the golden backups that are not there. None is written again: they stand for backups that people have. */
async function addMissing(): Promise<void> {
  const isThere = async (name: string): Promise<boolean> => await access(join(FIXTURES, name, 'payload')).then(() => true, () => false)
  const pool = await sharedPool()
  if (!(await isThere('v1-named-postgres'))) {
    const { schema, drop } = await newSchema(pool, EVERY_TYPE_TABLES)
    await inSchema(pool, schema, (client) => client.query(EVERY_TYPE_ROWS))
    const options = { schema, payloadIds: EVERY_TYPE_PAYLOADS, schemaVersion: 1, storeId: 'golden-store', worker: false }
    await addFiles(await goldenBackup('v1-named-postgres', postgresBackupable(pool, options)))
    await drop()
  }
  if (!(await isThere('v1-named-postgres-store'))) {
    const schema = newSchemaName()
    await using store = await PostgresMetadataStore.open(pool, { schema, storeId: GOLDEN_STORE_ID, clock: () => GOLDEN_CLOCK_MS })
    await fillGoldenStore(store)
    await addFiles(await goldenBackup('v1-named-postgres-store', store))
    await dropSchema(schema)
  }
}

async function addFiles(files: ReadonlyMap<string, Buffer>): Promise<void> {
  for (const [path, content] of files) {
    await mkdir(dirname(join(FIXTURES, path)), { recursive: true })
    await writeFile(join(FIXTURES, path), content, { flag: 'wx' })
  }
}
