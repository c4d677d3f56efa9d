import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isHoldfastError } from '../../../src/errors/errors.ts'
import { INODE_TYPES, type InodeType } from '../../../src/contracts/metadata-store.ts'
import { METADATA_LIMITS } from '../../../src/metadata/validate.ts'
import * as keys from '../../../src/stores/level/store/keys.ts'
import { payloadIds } from '../../../src/stores/level/store/payload-ids-of-record.ts'
import { checkRecord, isCanonicalRecord, isPlainRecord } from '../../../src/stores/level/store/record-check.ts'
import * as records from '../../../src/stores/level/store/records.ts'
import { runs, seed } from '../../support/seed.ts'

type Pair = readonly [key: string, value: string]

const MAX = Number.MAX_SAFE_INTEGER
const number = fc.oneof(fc.nat(), fc.constantFrom(0, 999_999_999_999_999, 10 ** 15, MAX), fc.integer({ min: 0, max: MAX }))
const positive = number.map((value) => Math.max(1, value))
const id = fc.oneof(fc.nat(), fc.constantFrom(0, 2 ** 32 - 1))
const mode = fc.integer({ min: 0, max: METADATA_LIMITS.mode })
const time = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
const anyText = fc.oneof(fc.string(), fc.string({ unit: 'binary' }))
const withoutNul = anyText.map((text) => text.replaceAll('\0', '0'))
const name = withoutNul.map((text) => text.replaceAll('/', '_').slice(0, 60)).filter((text) => !['', '.', '..'].includes(text))
const payloadId = fc.oneof(
  fc.stringMatching(/^[!-~]{1,20}$/),
  fc.constantFrom('"', '\\', '/', '~', 'x'.repeat(255)),
)
const block = fc.record({ payloadId, offset: number, bytes: number })
const xattrs = fc.oneof(
  fc.constant(new Map<string, Uint8Array>()),
  fc.array(fc.tuple(name, fc.uint8Array({ maxLength: 20 })), { maxLength: 4 }).map((pairs) => new Map(pairs)),
)
const attributes = fc.record({
  mode,
  uid: id,
  gid: id,
  size: number,
  links: positive,
  accessedAtNs: time,
  modifiedAtNs: time,
  changedAtNs: time,
  createdAtNs: time,
  xattrs,
})
const inodeRecord: fc.Arbitrary<records.InodeRecord> = fc
  .record({ type: fc.constantFrom<InodeType>(...INODE_TYPES), attributes, target: name, payloadId: fc.option(payloadId, { nil: undefined }), count: number, parent: positive })
  .map(({ type, attributes, target, payloadId, count, parent }) => ({
    type,
    ...attributes,
    symlinkTarget: type === 'symlink' ? target : undefined,
    payloadId: type === 'file' ? payloadId : undefined,
    blockCount: type === 'file' && payloadId === undefined ? count : 0,
    parent: type === 'directory' ? parent : undefined,
  }))
const type = fc.constantFrom<InodeType>(...INODE_TYPES)
const chunk = fc.integer({ min: 0, max: 99_999_999 })
const blocks = fc.array(block, { minLength: 1, maxLength: 5 })
const kind = fc.constantFrom('shared', 'exclusive')

/** Any record that a store writes. */
const record: fc.Arbitrary<Pair> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(positive, inodeRecord).map(([inode, record]): Pair => [keys.inodeKey(inode), records.encodeInode(record)]) },
  fc.tuple(positive, chunk, blocks).map(([inode, chunk, blocks]): Pair => [keys.blocksKey(inode, chunk), records.encodeBlocks(blocks)]),
  fc.tuple(name, chunk, blocks).map(([uploadId, chunk, blocks]): Pair => [keys.uploadBlocksKey(uploadId, chunk), records.encodeBlocks(blocks)]),
  fc.tuple(positive, name, positive, type).map(([parent, name, inode, type]): Pair => [keys.entryKey({ parent, name }), records.encodeEntry({ inode, type })]),
  fc
    .tuple(positive, number, fc.option(positive, { nil: undefined }), name, kind)
    .map(([inode, start, length, owner, kind]): Pair => {
      const end = length === undefined ? undefined : Math.min(start + length, MAX)
      return [keys.lockKey(inode, start === MAX ? start - 1 : start, owner), records.encodeLock({ kind, end })]
    }),
  fc.tuple(payloadId, positive).map(([payloadId, inode]): Pair => [keys.referenceKey(payloadId, keys.inodeOwner(inode)), '']),
  fc.tuple(payloadId, name).map(([payloadId, uploadId]): Pair => [keys.referenceKey(payloadId, keys.uploadOwner(uploadId)), '']),
  fc.tuple(name, withoutNul).map(([name, value]): Pair => [keys.settingKey(name), records.encodeText(value)]),
  fc
    .tuple(name, positive, fc.integer(), fc.dictionary(name, withoutNul, { maxKeys: 3 }))
    .map(([name, root, createdAtMs, options]): Pair => [keys.shareKey(name), records.encodeShare({ root, createdAtMs, options })]),
  fc
    .tuple(name, positive, name, fc.integer(), number)
    .map(([id, parent, name, startedAtMs, blockCount]): Pair => [keys.uploadKey(id), records.encodeUpload({ parent, name, startedAtMs, blockCount })]),
  positive.map((next): Pair => [keys.NEXT_INODE_KEY, `${next}`]),
  fc.bigInt({ min: 0n, max: 10n ** 31n - 1n }).map((used): Pair => [keys.USED_BYTES_KEY, `${used}`]),
)

const REFUSED: readonly Pair[] = [
  ['', ''],
  ['inodes', '{}'],
  ['inodes/0000000000000001', ''],
  ['inodes/0000000000000001', '{}'],
  ['inodes/0000000000000001', 'null'],
  ['inodes/1', '{}'],
  ['unknown/1', '{}'],
  ['store/id', 'x'],
  ['__proto__/1', '{}'],
  ['entries/0000000000000001/a', '{"inode":0,"type":"file"}'],
  ['entries/0000000000000001/a', '{"inode":1,"type":"door"}'],
  ['entries/0000000000000001/a', '{"type":"file","inode":1}'],
  ['entries/0000000000000001/a', '{"inode":1,"type":"file","more":1}'],
  ['entries/0000000000000001/a', ' {"inode":1,"type":"file"}'],
  ['entries/0000000000000000/a', '{"inode":1,"type":"file"}'],
  ['entries/9007199254740992/a', '{"inode":1,"type":"file"}'],
  ['entries/0000000000000001/', '{"inode":1,"type":"file"}'],
  ['entries/0000000000000001/..', '{"inode":1,"type":"file"}'],
  ['entries/0000000000000001/~2F', '{"inode":1,"type":"file"}'],
  ['entries/0000000000000001/~61', '{"inode":1,"type":"file"}'],
  ['entries/0000000000000001/~c3~a9', '{"inode":1,"type":"file"}'],
  ['entries/0000000000000001/~C3', '{"inode":1,"type":"file"}'],
  ['entries/0000000000000001/é', '{"inode":1,"type":"file"}'],
  ['entries/0000000000000001/' + '~C3~A9'.repeat(128), '{"inode":1,"type":"file"}'],
  ['counters/next-inode', '0'],
  ['counters/next-inode', '9007199254740992'],
  ['counters/next-inode', '01'],
  ['counters/other', '1'],
  ['counters/used-bytes', '-1'],
  ['blocks/0000000000000001/00000000', '[]'],
  ['blocks/0000000000000001/0', '[["a",0,1]]'],
  ['blocks/0000000000000001/00000000', '[["a b",0,1]]'],
  ['blocks/0000000000000001/00000000', `[${Array.from({ length: 1001 }, () => '["a",0,1]').join()}]`],
  ['locks/0000000000000001/0000000000000005/x', '{"kind":"shared","end":5}'],
  ['locks/0000000000000001/0000000000000005/x', '{"kind":"both"}'],
  ['references/a i0000000000000001', '{}'],
  ['references/a i1', ''],
  ['references/ i0000000000000001', ''],
  ['references/a  i0000000000000001', ''],
  ['references/a', ''],
  ['references/a u..', ''],
  ['references/a x1', ''],
  ['settings/', '""'],
  ['settings/a', 'x'],
  ['settings/a', '"\\u0041"'],
  ['shares/a', '{"root":1,"createdAtMs":1.5,"options":[]}'],
  ['shares/a', '{"root":1,"createdAtMs":1,"options":[["b",""],["a",""]]}'],
  ['shares/a', '{"root":1,"createdAtMs":1,"options":[["a",""],["a",""]]}'],
  ['uploads/a', '{"parent":1,"name":"","startedAtMs":1,"blockCount":0}'],
]

describe('checkRecord()', () => {
  test('accepts every record that a store writes, all of them ASCII', () => {
    fc.assert(
      fc.property(record, ([key, value]) => {
        checkRecord(key, value)
        expect(isCanonicalRecord(key, value)).toBe(true)
        // eslint-disable-next-line no-control-regex -- all of ASCII but NUL and DEL
        expect(key + value).toMatch(/^[\x01-\x7e]*$/)
      }),
      { seed, numRuns: runs(3000) },
    )
  })

  test('knows the usual records of the large sections by their expressions', () => {
    const attributes = { mode: 0o644, uid: 1000, gid: 1000, size: 123_456, links: 1, xattrs: new Map(), blockCount: 0 }
    const times = { accessedAtNs: -1n, modifiedAtNs: 0n, changedAtNs: 1_700_000_000_123_456_789n, createdAtNs: 1n }
    const none = { symlinkTarget: undefined, payloadId: undefined, parent: undefined }
    const usual: readonly Pair[] = [
      [keys.inodeKey(42), records.encodeInode({ type: 'file', ...attributes, ...times, ...none, payloadId: `sha256-${'a'.repeat(64)}` })],
      [keys.inodeKey(42), records.encodeInode({ type: 'file', ...attributes, ...times, ...none, blockCount: 7 })],
      [keys.inodeKey(42), records.encodeInode({ type: 'directory', ...attributes, ...times, ...none, parent: 1 })],
      [keys.inodeKey(42), records.encodeInode({ type: 'symlink', ...attributes, ...times, ...none, symlinkTarget: '../a b/c.txt' })],
      [keys.inodeKey(42), records.encodeInode({ type: 'fifo', ...attributes, ...times, ...none })],
      [keys.entryKey({ parent: 1, name: 'package.json' }), records.encodeEntry({ inode: 42, type: 'file' })],
      [keys.blocksKey(42, 0), records.encodeBlocks(Array.from({ length: 1000 }, (_, at) => ({ payloadId: `p${at}`, offset: 0, bytes: 4096 })))],
      [keys.referenceKey('a/b', keys.inodeOwner(42)), ''],
      [keys.referenceKey('~', keys.uploadOwner('u')), ''],
    ]
    for (const [key, value] of usual) expect(isPlainRecord(key, value), `${key} ${value}`).toBe(true)
  })

  test('never takes by its expressions what decoding and encoding again would refuse', () => {
    // Whatever becomes of a valid record by edits that look like its own text.
    const edit = fc.record({
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      remove: fc.nat(3),
      insert: fc.oneof(fc.constant(''), fc.constantFrom('0', '9', '-', '.', '..', '/', '"', '\\', ',', '~', ' ', '~2F', '~7E', 'x', '00000000', '\0', '\ufffd', '[', '{}')),
      inKey: fc.boolean(),
    })
    let accepted = 0
    fc.assert(
      fc.property(record, fc.array(edit, { minLength: 1, maxLength: 3 }), (pair, edits) => {
        const [key, value] = edits.reduce<Pair>(([key, value], { inKey, ...edit }) => (inKey ? [edited(key, edit), value] : [key, edited(value, edit)]), pair)
        if (!isPlainRecord(key, value)) return
        accepted++
        expect(isCanonicalRecord(key, value)).toBe(true)
      }),
      { seed, numRuns: runs(10_000) },
    )
    expect(accepted).toBeGreaterThan(runs(50))
  })

  test('refuses a record with any byte beyond ASCII, as a flipped bit leaves it', () => {
    fc.assert(
      fc.property(record, fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), ([key, value], at) => {
        const bytes = Buffer.from(key + value)
        const index = Math.floor(at * bytes.length)
        bytes[index] = (bytes[index] ?? 0) ^ 0x80
        const text = bytes.toString()
        const keyLength = index < key.length ? key.length - 1 + '\ufffd'.length : key.length
        expect(codeOf(() => checkRecord(text.slice(0, keyLength), text.slice(keyLength)))).toBe('record_invalid')
      }),
      { seed, numRuns: runs(1000) },
    )
  })

  test('refuses what is not exactly a record with record_invalid and its key', () => {
    for (const [key, value] of REFUSED) {
      expect(codeOf(() => checkRecord(key, value)), `${key} = ${value}`).toBe('record_invalid')
      expect(() => checkRecord(key, value)).toThrow(expect.objectContaining({ details: { key } }))
    }
  })
})

test('decodeInode() gives what encodeInode() was given', () => {
  fc.assert(
    fc.property(inodeRecord, (inode) => {
      expect(records.decodeInode(records.encodeInode(inode))).toEqual(inode)
    }),
    { seed, numRuns: runs(1000) },
  )
})

test('escapeText() gives ASCII in the order of the bytes, and unescapeText() the text', () => {
  fc.assert(
    fc.property(name, name, (a, b) => {
      expect(keys.unescapeText(keys.escapeText(a))).toBe(a)
      const escaped = Math.sign(Buffer.compare(Buffer.from(keys.escapeText(a)), Buffer.from(keys.escapeText(b))))
      expect(escaped).toBe(Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b))))
    }),
    { seed, numRuns: runs(2000) },
  )
})

test('payloadIds() gives the ID of a reference, nothing of other records, and refuses what is none', () => {
  expect(payloadIds('references/a/b u~E2~82~AC', '')).toEqual(['a/b'])
  expect(payloadIds('blocks/0000000000000001/00000000', '[["a",0,1]]')).toEqual([])
  expect(codeOf(() => payloadIds('references/a/b', ''))).toBe('record_invalid')
})

test('SECTIONS are in key order, without overlap', () => {
  const bounds = keys.SECTIONS.flatMap(({ gte, lt }) => [gte, lt])
  expect(bounds).toEqual(bounds.toSorted())
  for (const key of [keys.STORE_ID_KEY, keys.SCHEMA_VERSION_KEY]) expect(keys.SECTIONS.some(({ gte, lt }) => key >= gte && key < lt)).toBe(false)
})

function edited(text: string, { at, remove, insert }: { readonly at: number; readonly remove: number; readonly insert: string }): string {
  const index = Math.floor(at * text.length)
  return text.slice(0, index) + insert + text.slice(index + remove)
}

function codeOf(call: () => unknown): string {
  try {
    call()
    return 'done'
  } catch (error) {
    if (!isHoldfastError(error)) throw error
    return error.code
  }
}
