/** The test vectors of RECORDS.md, read as a reader of the documents alone would, and by a store. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { MemoryLevel } from 'memory-level'
import { describe, expect, it, onTestFinished } from 'vitest'
import { checkTree } from '../../src/metadata/check-tree.ts'
import { LevelMetadataStore } from '../../src/stores/level/index.ts'
import { frames, pieces } from '../support/stream-surgery.ts'
import { chunksOf } from '../support/streams.ts'
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
