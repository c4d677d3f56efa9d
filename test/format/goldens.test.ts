import { createHash } from 'node:crypto'
import { cp, readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { decodePayloadIds } from '../../src/payload-ids/payload-id-set.ts'
import { findZstd } from '../../src/format/compression.ts'
import { fsDestination } from '../../destinations/fs/index.ts'
import { deleteBackup } from '../../src/repository/delete-backups.ts'
import { listBackups } from '../../src/repository/list-backups.ts'
import { verifyBackup } from '../../src/repository/verify-backup.ts'
import { tempDir } from '../support/temp-dir.ts'
import { parseManifest } from '../../src/format/manifest.ts'
import type { Expected } from '../support/damage.ts'
import { GOLDEN_DATA, GOLDEN_PAYLOAD_IDS, makeGoldens } from '../support/goldens.ts'
import { chunksOf, collect, failureOf, readStreamWhole } from '../support/streams.ts'
import { type Item, readPayloadIds, readStream } from './format-reader.ts'

const HAS_ZSTD = (await findZstd()) !== undefined
const FIXTURES = join(import.meta.dirname, '../../fixtures')
const BACKUP_ID = '01JGZ7GK3G0000000000000001'
const IDS = GOLDEN_PAYLOAD_IDS.toSorted()
const SECTIONS = ['settings', 'inodes', 'entries', 'blocks']
const GOLDENS = { 'v1-key-value-stream': GOLDEN_DATA, 'v1-empty-store': [], 'v1-unknown-fields': GOLDEN_DATA, 'v1-zstd-stream': GOLDEN_DATA, 'v1-named-stream': GOLDEN_DATA, 'v1-named-zstd-stream': GOLDEN_DATA } as const

const golden = (...path: string[]): Promise<Buffer> => readFile(join(FIXTURES, ...path))
const asBytes = (value: Item | Uint8Array): string | number[] => (typeof value === 'string' ? value : [...(value as Uint8Array)])

for (const [name, data] of Object.entries(GOLDENS)) {
  const ids = name === 'v1-empty-store' ? [] : IDS
  describe.skipIf(name.includes('zstd') && !HAS_ZSTD)(`golden ${name}`, () => {
    it('is read by SnapshotReader, record for record', async () => {
      const payload = await golden(name, 'payload')
      const manifest = parseManifest(await golden(name, 'manifest.json'), BACKUP_ID)
      const read = await readStreamWhole(chunksOf(payload, [1000]))
      expect(read.data).toEqual(data)
      expect(read.summary).toMatchObject({
        storeKind: manifest.storeKind,
        storeId: manifest.storeId,
        schemaVersion: manifest.schemaVersion,
        createdAtMs: Date.parse(manifest.createdAt),
        records: manifest.records,
        payloadIds: { count: manifest.payloadIds.count, digest: manifest.payloadIds.sha256 },
        ...manifest.payload,
      })
    })

    it('is read by a reader that knows FORMAT.md alone', async () => {
      const { header, trailer, records } = readStream(await golden(name, 'payload'))
      expect(header.get('sections')).toEqual(SECTIONS)
      expect(header.get('createdAtMs')).toBe(1_767_323_045_678)
      expect(trailer.get('payloadIdCount')).toBe(ids.length)
      expect((trailer.get('payloadIdDigest') as Buffer).toString('hex')).toBe(createHash('sha256').update(await golden(name, 'payload-ids')).digest('hex'))
      const expected = data.flatMap(({ section, records }) => records.map(([key, value]) => [SECTIONS[section], asBytes(key), asBytes(value)]))
      expect(records.map(([section, key, value]) => [section, asBytes(key), asBytes(value)])).toEqual(expected)
    })

    it('has payload IDs that both readers read', async () => {
      const object = await golden(name, 'payload-ids')
      expect(readPayloadIds(object)).toEqual(ids)
      expect(await collect(decodePayloadIds(chunksOf(object, [7, 100])))).toEqual(ids)
    })
  })
}

it.skipIf(HAS_ZSTD)('a zstd stream is refused with backup_unsupported and a hint where Node has no zstd', async () => {
  const failure = await failureOf(readStreamWhole(chunksOf(await golden('v1-zstd-stream', 'payload'))))
  expect(failure).toMatchObject({ code: 'backup_unsupported', hint: expect.stringContaining('22.15') })
})

describe('goldens of releases after 0.1.0', () => {
  it.each(['v1-named-stream', 'v1-named-zstd-stream'])('%s names its backup, content, objects and codec', async (name) => {
    const manifest = parseManifest(await golden(name, 'manifest.json'), BACKUP_ID)
    const { bytes, sha256 } = manifest.payloadIds
    expect(manifest).toMatchObject({ content: 'records', requires: [], compression: name.includes('zstd') ? 'zstd' : 'none', objects: { payload: manifest.payload, 'payload-ids': { bytes, sha256 } } })
    expect(manifest.payloadIds.set).toBe(sha256)
    if (HAS_ZSTD || !name.includes('zstd')) expect((await readStreamWhole(chunksOf(await golden(name, 'payload')))).summary).toMatchObject({ backupId: BACKUP_ID, compression: manifest.compression })
  })

  it('v2-unknown-feature is refused by the name of the feature, and never as damaged', async () => {
    const failure = await failureOf((async () => parseManifest(await golden('v2-unknown-feature', 'manifest.json'), BACKUP_ID))())
    expect(failure).toMatchObject({ code: 'manifest_feature_unsupported', message: expect.stringContaining('"time-travel"'), details: { features: ['time-travel'] } })
    await readStreamWhole(chunksOf(await golden('v2-unknown-feature', 'payload')))
  })
})

describe('a backup that requires an unknown feature', () => {
  it('is listed as newer, verified as that, and not deleted unless forced', async () => {
    const path = await tempDir()
    await cp(join(FIXTURES, 'v2-unknown-feature'), join(path, BACKUP_ID), { recursive: true })
    const destination = fsDestination({ path })
    const refusal = { code: 'manifest_feature_unsupported' }
    expect(await collect(listBackups(destination, async () => undefined))).toMatchObject([{ state: 'newer', backupId: BACKUP_ID, error: refusal }])
    await expect(verifyBackup({ destination, backupId: BACKUP_ID })).rejects.toMatchObject(refusal)
    await expect(deleteBackup({ destination, backupId: BACKUP_ID })).rejects.toMatchObject(refusal)
    expect(await collect(destination.list())).toEqual([BACKUP_ID])
    expect(await deleteBackup({ destination, backupId: BACKUP_ID, force: true })).toMatchObject({ backupId: BACKUP_ID, wasListed: true })
  })
})

describe('writers', () => {
  it('make the very bytes of the golden files, but for compressed ones', async () => {
    for (const [path, content] of await makeGoldens()) {
      if (!path.includes('zstd')) expect((await golden(path)).equals(content), path).toBe(true)
    }
  })
})

const READERS = {
  'v1-damaged-streams': (bytes: Buffer, lengths: readonly number[]) => readStreamWhole(chunksOf(bytes, lengths)),
  'v1-damaged-payload-ids': (bytes: Buffer, lengths: readonly number[]) => collect(decodePayloadIds(chunksOf(bytes, lengths))),
  'v1-damaged-manifests': async (bytes: Buffer) => parseManifest(bytes, BACKUP_ID),
} as const

for (const [directory, read] of Object.entries(READERS)) {
  describe(directory, async () => {
    const expected = JSON.parse((await golden(directory, 'expected.json')).toString()) as Record<string, Expected>

    it('has an expectation for every file', async () => {
      const files = (await readdir(join(FIXTURES, directory))).filter((name) => name !== 'expected.json')
      expect(Object.keys(expected).toSorted()).toEqual(files.toSorted())
    })

    for (const [name, fault] of Object.entries(expected)) {
      it(`${name} is ${fault.code}${fault.offset === undefined ? '' : ` at byte ${fault.offset}`}, in any chunking`, async () => {
        const bytes = await golden(directory, name)
        for (const lengths of [[1 << 20], [1], [0, 13, 1, 100]]) {
          const { code, offset, frame, message } = await failureOf(read(bytes, lengths))
          expect({ code, offset, frame }).toEqual({ offset: undefined, frame: undefined, ...fault })
          expect(message).toMatch(/^Cannot [^\n]+[^.\n]$/)
        }
      })
    }
  })
}
