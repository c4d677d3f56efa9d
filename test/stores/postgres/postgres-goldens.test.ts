import { createHash } from 'node:crypto'
import { access, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { decodePayloadIds } from '../../../src/payload-ids/payload-id-set.ts'
import { encodeManifest, parseManifest } from '../../../src/format/manifest.ts'
import type { SnapshotSummary } from '../../../src/contracts/backupable.ts'
import { postgresBackupable } from '../../../src/stores/postgres/snapshot/postgres-backupable.ts'
import { CountingSource, snapshotOf } from '../../conformance/backupable-fixture.ts'
import { chunksOf, collect, payloadIdsObject } from '../../support/streams.ts'
import { EVERY_TYPE_PAYLOADS, EVERY_TYPE_ROWS, EVERY_TYPE_TABLES } from './every-type.ts'
import { dumpSchema, inSchema, newSchema, sharedPool } from './schemas.ts'

const GOLDEN = join(import.meta.dirname, '../../../fixtures/v1-postgres')
const BACKUP_ID = '01JGZ7GK3G0000000000000001'

const golden = (name: string): Promise<Buffer> => readFile(join(GOLDEN, name))

beforeAll(async () => {
  const isThere = await access(join(GOLDEN, 'payload')).then(() => true, () => false)
  if (!isThere && process.env['HOLDFAST_ADD_GOLDENS'] !== undefined) await addGolden()
})

test('golden v1-postgres is restored, row for row', async () => {
  const manifest = parseManifest(await golden('manifest.json'), BACKUP_ID)
  const [expected, target] = [await everyType(), await everyType()]
  await inSchema(expected.pool, expected.schema, (client) => client.query(EVERY_TYPE_ROWS))
  await target.store.restore(new CountingSource(await golden('payload'), { chunkBytes: 1000 }))
  expect(await dumpSchema(target.pool, target.schema)).toBe(await dumpSchema(expected.pool, expected.schema))
  const { payloadIds, summary } = await snapshotOf(target.store)
  expect(payloadIds).toEqual(await collect(decodePayloadIds(chunksOf(await golden('payload-ids')))))
  expect(summary.records).toEqual(manifest.records)
  expect(manifest).toMatchObject({ storeKind: 'postgres', payloadIds: { count: summary.payloadIds.count, sha256: summary.payloadIds.digest } })
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

async function everyType({ worker = false } = {}): Promise<{ pool: Awaited<ReturnType<typeof sharedPool>>; schema: string; store: ReturnType<typeof postgresBackupable> }> {
  const pool = await sharedPool()
  const { schema, drop } = await newSchema(pool, EVERY_TYPE_TABLES)
  onTestFinished(drop)
  return { pool, schema, store: postgresBackupable(pool, { schema, payloadIds: EVERY_TYPE_PAYLOADS, schemaVersion: 1, storeId: 'golden-store', worker }) }
}

/** Written once; it stands for backups that people have. */
async function addGolden(): Promise<void> {
  const pool = await sharedPool()
  const { schema, drop } = await newSchema(pool, EVERY_TYPE_TABLES)
  await inSchema(pool, schema, (client) => client.query(EVERY_TYPE_ROWS))
  const store = postgresBackupable(pool, { schema, payloadIds: EVERY_TYPE_PAYLOADS, schemaVersion: 1, storeId: 'golden-store', worker: false })
  const { bytes, summary, payloadIds } = await snapshotOf(store)
  await drop()
  const ids = await payloadIdsObject(payloadIds)
  const manifest = encodeManifest({
    manifestVersion: 1,
    backupId: BACKUP_ID,
    createdAt: new Date(summary.createdAtMs).toISOString(),
    storeId: summary.storeId,
    storeKind: summary.storeKind,
    schemaVersion: summary.schemaVersion,
    payload: { bytes: summary.bytes, sha256: summary.sha256 },
    payloadIds: { count: ids.count, bytes: ids.bytes.byteLength, sha256: createHash('sha256').update(ids.bytes).digest('hex') },
    records: summary.records,
    encryption: null,
    compression: 'none',
    labels: {},
    holdfastVersion: '0.1.0',
  })
  await mkdir(GOLDEN, { recursive: true })
  await writeFile(join(GOLDEN, 'payload-ids'), ids.bytes)
  await writeFile(join(GOLDEN, 'manifest.json'), manifest)
  await writeFile(join(GOLDEN, 'payload'), bytes)
}
