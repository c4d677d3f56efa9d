/** The test vectors of RECORDS.md, read as a reader of the documents alone would, and by a store; and what a reader refuses. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MemoryLevel } from 'memory-level'
import { describe, expect, it, onTestFinished } from 'vitest'
import { fsDestination } from '../../destinations/fs/index.ts'
import { manifestOf } from '../../src/format/manifest.ts'
import { checkTree } from '../../src/metadata/check-tree.ts'
import { findContentCheck } from '../../src/registry/index.ts'
import { verifyBackup } from '../../src/repository/verify-backup.ts'
import { LevelMetadataStore } from '../../src/stores/level/index.ts'
import { openMemoryStore } from '../../src/stores/memory/index.ts'
import { newUlid } from '../../src/util/ulid.ts'
import { type Frame, changed, contentOf, frameStarts, frames, pieces, sealed, withContent } from '../support/stream-surgery.ts'
import { chunksOf, failureOf, readStreamWhole } from '../support/streams.ts'
import { tempDir } from '../support/temp-dir.ts'
import { readPayloadIds, readStream } from './format-reader.ts'

const RECORDS = readFileSync(join(import.meta.dirname, '../../src/format/RECORDS.md'), 'utf8')
const [FRAME, IDS, STREAM] = RECORDS.split('\n### Vector ').slice(1) as [string, string, string]

function bytesOf(vector: string): Buffer {
  return Buffer.from([...vector.matchAll(/^ {4}([0-9a-f]+)$/gm)].map(([, hex]) => hex).join(''), 'hex')
}

function tableOf(vector: string): readonly (readonly string[])[] {
  const text = (cell = ''): string => cell.trim().replace(/^`|`$/g, '')
  return [...vector.matchAll(/^\| (`[a-z].*?`) \|(.*)\|$/gm)].map(([, key, value]) => [text(key), text(value)])
}

describe('RECORDS.md, test vectors', () => {
  it('1 is the raw bytes of a frame of vector 3, with the records of its table', () => {
    const frame = frames(bytesOf(STREAM)).find(({ stored }) => stored.equals(bytesOf(FRAME)))
    expect(frame?.records).toBe(tableOf(FRAME).length)
    expect(tableOf(STREAM)).toEqual(expect.arrayContaining([...tableOf(FRAME)]))
  })

  it('2 is a set whose digest is that of vector 3', () => {
    const digest = createHash('sha256').update(bytesOf(IDS)).digest('hex')
    expect(IDS).toContain(digest)
    expect((readStream(bytesOf(STREAM)).trailer.get('payloadIdDigest') as Buffer).toString('hex')).toBe(digest)
  })

  it('3 holds the records of its table, from which the payload IDs of vector 2 follow', () => {
    const stream = bytesOf(STREAM)
    expect(STREAM).toContain(createHash('sha256').update(stream).digest('hex'))
    const { header, records } = readStream(stream)
    expect(header.get('backupId')).toBe('01JGZ7GK3G0000000000000001')
    expect(records.map(([, key, value]) => [key, value])).toEqual(tableOf(STREAM))
    const references = records.filter(([section]) => section === 'references').map(([, key]) => String(key).slice('references/'.length).split(' ')[0])
    expect([...new Set(references)]).toEqual(readPayloadIds(bytesOf(IDS)))
    expect(pieces(stream).length).toBe(1 + Number(readStream(stream).trailer.get('frames')))
  })

  it('3 restores into a store that is whole, with the files that the text names', async () => {
    const store = await LevelMetadataStore.open(new MemoryLevel({ keyEncoding: 'utf8', valueEncoding: 'utf8' }), { kind: 'memory' })
    onTestFinished(() => store.close())
    await store.restore(chunksOf(bytesOf(STREAM)))
    expect(await checkTree(store)).toEqual([])
    expect((await store.readDirectory(1)).entries.map(({ name }) => name)).toEqual(['a~b é', 'readme'])
    expect((await store.inode(2))?.xattrs.get('user.é')).toEqual(Uint8Array.of(0xff, 0))
  })
})

interface Crafted {
  readonly stream: Buffer
  readonly isOfAnother?: boolean
  readonly frame?: number
  readonly ids?: Buffer
}

describe('RECORDS.md, what a reader refuses', () => {
  const whole = bytesOf(STREAM)
  const otherIds = Buffer.from(bytesOf(IDS).toString('latin1').replace('block-7', 'block-8'), 'latin1')
  const otherDigest = createHash('sha256').update(otherIds).digest()

  /** Vector 3 with the first such text of its data frames replaced by one as long. */
  const replaced = (text: string, by: string): Crafted => {
    const list = frames(whole)
    const frame = list.findIndex(({ type, stored }) => type === 2 && stored.includes(text))
    const edited = (stored: Buffer): Buffer => Buffer.from(stored.toString('latin1').replace(text, by), 'latin1')
    return { stream: sealed(changed(list, frame, (found) => ({ ...found, stored: edited(found.stored) }))), frame }
  }
  const control = (index: number, change: object): Buffer =>
    sealed(changed(frames(whole), index, (frame) => withContent(frame, { ...contentOf(frame), ...change })))
  const sections = contentOf(frames(whole)[0] as Frame)['sections'] as readonly string[]

  /** In the order of the table. */
  const CRAFTED: readonly (readonly Crafted[])[] = [
    [sections.toReversed(), [...sections, 'zz'], sections.with(4, 'lock')].map((sections, index) => ({
      isOfAnother: index > 0,
      // The trailer's counts go with the sections, so that nothing else is wrong.
      stream: sealed(frames(control(0, { sections })).map((frame) => (frame.type === 3 ? withContent(frame, { ...contentOf(frame), records: countsOf(sections.length) }) : frame))),
    })),
    [replaced('shares/home', 'sharez/home'), replaced('blocks/', 'blobks/')],
    [replaced('"links":2', '"links":0'), replaced('counters/next-inode', 'counters/next-inodf'), replaced('"parent":1', '"parent":0'), replaced('a~7Eb', 'a~7eb')],
    [replaced('ab12 i0000000000000002', 'ab12 i0000000000000001'), replaced('"payloadId":"ab12"', '"payloadId":"ab13"')],
    [replaced('"blockCount":2', '"blockCount":3')],
    [replaced('"links":2', '"links":3'), replaced('"root":1', '"root":2'), replaced('"parent":1', '"parent":2')],
    [{ stream: control(frames(whole).length - 1, { payloadIdDigest: otherDigest }), ids: otherIds }],
  ]
  const rows = [...(RECORDS.split('### What a reader refuses')[1]?.split('\n## ')[0] ?? '').matchAll(/^\| (?!what|---)(.*) \| `([a-z_]+)`(.*) \|$/gm)]

  function countsOf(length: number): readonly number[] {
    const { records } = contentOf(frames(whole).at(-1) as Frame)
    return Array.from({ length }, (_, index) => (records as readonly number[])[index] ?? 0)
  }

  async function refusalOf({ stream, ids = bytesOf(IDS) }: Crafted, level: 'content' | 'restore'): ReturnType<typeof failureOf> {
    const backupId = '01JGZ7GK3G0000000000000001'
    const path = await tempDir()
    const { summary } = await readStreamWhole(chunksOf(stream))
    await mkdir(join(path, backupId))
    const manifest = JSON.stringify(manifestOf(summary, { backupId, payloadIdsBytes: ids.byteLength, labels: {} }))
    for (const [name, content] of Object.entries({ payload: stream, 'payload-ids': ids, 'manifest.json': manifest })) await writeFile(join(path, backupId, name), content)
    await using home = await openMemoryStore()
    const openTrial = (): ReturnType<typeof home.openSide> => home.openSide(newUlid(), { storeId: 'trial' })
    return await failureOf(verifyBackup({ destination: fsDestination({ path }), backupId, level, openTrial, contentCheck: findContentCheck }))
  }

  it('has a row for each fault that is crafted here', () => {
    expect(rows.length).toBe(CRAFTED.length)
  })

  it.each(rows.map(([, what, code, where], index) => [what, code, where, index] as const))('%s', async (_what, code, where, index) => {
    for (const crafted of CRAFTED[index] ?? []) {
      const place = where?.includes('offset') === true ? { offset: frameStarts(whole)[crafted.frame ?? 0], frame: crafted.frame } : { offset: undefined, frame: undefined }
      for (const level of ['content', 'restore'] as const) {
        // With other sections than the ten, records may be an embedder's own.
        if (level === 'content' && crafted.isOfAnother === true) continue
        const failure = await refusalOf(crafted, level)
        expect({ code: failure.code, offset: failure.offset, frame: failure.frame }, `${level}: ${failure.message}`).toEqual({ code, ...place })
      }
    }
  })
})
