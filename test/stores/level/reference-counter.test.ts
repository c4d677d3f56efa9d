import { describe, expect, test } from 'vitest'
import { contentOf } from '../../../src/format/frame.ts'
import { type StoredRecord, columnsOf, encodeRecords } from '../../../src/format/records.ts'
import * as keys from '../../../src/stores/level/store/keys.ts'
import { encodeBlocks, encodeInode } from '../../../src/stores/level/store/records.ts'
import { ReferenceCounter } from '../../../src/stores/level/store/reference-counter.ts'

const PLAIN = { type: 'file', mode: 0, uid: 0, gid: 0, size: 0, links: 1, accessedAtNs: 0n, modifiedAtNs: 0n, changedAtNs: 0n, createdAtNs: 0n, xattrs: new Map(), blockCount: 0 } as const

function inode(number: number, fields: Partial<Parameters<typeof encodeInode>[0]> = {}): StoredRecord {
  return [keys.inodeKey(number), encodeInode({ ...PLAIN, symlinkTarget: undefined, payloadId: undefined, parent: undefined, ...fields })]
}

function reference(payloadId: string, number: number): StoredRecord {
  return [keys.referenceKey(payloadId, keys.inodeOwner(number)), '']
}

/** What is counted of frames; each is of one section. */
function count(...frames: readonly (readonly StoredRecord[])[]): number {
  const counter = new ReferenceCounter()
  for (const records of frames) {
    const frame = encodeRecords(records)
    counter.add({ name: String(records[0]?.[0]).split('/')[0] ?? '', records, columns: () => columnsOf(contentOf(frame)) })
  }
  return counter.count()
}

describe('ReferenceCounter', () => {
  test('counts different payload IDs, also over the edge of a frame', () => {
    expect(count()).toBe(0)
    expect(count([inode(1), inode(2)])).toBe(0)
    expect(count([inode(1, { payloadId: 'a' }), inode(2, { payloadId: 'a' }), inode(3, { payloadId: 'b' })], [reference('a', 1)], [reference('a', 2), reference('b', 3)])).toBe(2)
  })

  test('reads a frame that begins with an inode which is shorter than the payload ID before', () => {
    const payloadId = 'x'.repeat(255)
    expect(count([inode(1, { payloadId })], [inode(2), inode(3, { payloadId: 'y' }), inode(4, { type: 'symlink', symlinkTarget: 'z' })], [reference(payloadId, 1), reference('y', 3)])).toBe(2)
  })

  test('finds the fields of content wherever they stand in a record, and not in its texts', () => {
    const [key, value] = inode(1, { payloadId: 'a', xattrs: new Map([[',"payloadId":"x"', new Uint8Array(3)]]) }) as readonly [string, string]
    const turned = JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(value) as object).toReversed()))
    expect(turned.indexOf('payloadId')).toBeLessThan(turned.indexOf('modifiedAtNs'))
    for (const text of [value, turned.replace('{', '{"type":"file",')]) expect(count([[key, text]], [reference('a', 1)])).toBe(1)
    const [otherKey, counted] = inode(7, { blockCount: 2 }) as readonly [string, string]
    const chunk: StoredRecord = [keys.blocksKey(7, 0), encodeBlocks([{ payloadId: 'a', offset: 0, bytes: 1 }, { payloadId: 'a', offset: 1, bytes: 1 }])]
    expect(count([chunk], [[otherKey, counted.replace(',"blockCount":2}', '}').replace(',"mode"', ',"blockCount":2,"mode"')]], [reference('a', 7)])).toBe(1)
  })

  test('takes a payload that a block list names several times, in several parts, as one reference', () => {
    const block = { payloadId: 'a', offset: 0, bytes: 1 }
    const other = { ...block, payloadId: 'b' }
    const parts: StoredRecord[] = [[block, other, block], [other, block]].map((blocks, chunk) => [keys.blocksKey(7, chunk), encodeBlocks(blocks)])
    expect(count(parts, [inode(7, { blockCount: 5 })], [reference('a', 7), reference('b', 7)])).toBe(2)
    expect(() => count(parts, [inode(7, { blockCount: 4 })], [reference('a', 7), reference('b', 7)])).toThrow('5 blocks, inodes and uploads count 4')
    expect(() => count(parts, [inode(7, { blockCount: 5 })], [reference('a', 7)])).toThrow('1 references, inodes, block lists and uploads make 2')
  })

  test('tells references apart whose texts run on the same', () => {
    const indexed = [reference('a', 1), reference('ab', 1)]
    expect(() => count([inode(1, { payloadId: 'a' }), inode(2, { payloadId: 'ab' })], indexed)).toThrow('the 2 references of the index are not those')
    expect(() => count([inode(1, { payloadId: 'abcd' })], [reference('abce', 1)])).toThrow('the 1 references of the index are not those')
  })
})
