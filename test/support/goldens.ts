/** What the golden files in `fixtures/` are made of. Fixed for ever: new files may be added, these never change. */
import { createHash } from 'node:crypto'
import { findZstd } from '../../src/format/compression.ts'
import { manifestOf as completeManifestOf, encodeManifest } from '../../src/format/manifest.ts'
import type { StoredRecord } from '../../src/format/snapshot-reader.ts'
import { type Damaged, damagedStreams } from './damage.ts'
import { contentOf, flipped, frames, sealed, withContent } from './stream-surgery.ts'
import { type FrameRecords, type Written, payloadIdsObject, writeStream } from './streams.ts'

/** Path below `fixtures/` to content. */
export type Goldens = ReadonlyMap<string, Buffer>

const HAS_ZSTD = (await findZstd()) !== undefined
const BACKUP_ID = '01JGZ7GK3G0000000000000001'
const CREATED_AT_MS = Date.UTC(2026, 0, 2, 3, 4, 5, 678)
const OPTIONS = { storeKind: 'level', storeId: 'golden-store', schemaVersion: 1, createdAtMs: CREATED_AT_MS, sections: ['settings', 'inodes', 'entries', 'blocks'] }
const LONG = 70_000

/** Text and bytes of every length form of CBOR, scripts, empty ones; one section without records. */
export const GOLDEN_DATA: readonly FrameRecords[] = [
  { section: 0, records: [['settings/a', '{"value":1}'], ['settings/b', '']] },
  { section: 0, records: [['settings/z', 'x'.repeat(300)]] },
  { section: 1, records: Array.from({ length: 40 }, (_, index): StoredRecord => [`inode/${String(index).padStart(8, '0')}`, `{"ino":${index},"size":${index ** 5}}`]) },
  {
    section: 3,
    records: [
      ['', 'the empty key'],
      ['\0', '\0nul\n'],
    ],
  },
  { section: 3, records: [[Uint8Array.of(1), new Uint8Array(0)]] },
  {
    section: 3,
    records: [
      ['e\u0301 é', '\ufeffmark \ufffd'],
      ['日本語', '😀'.repeat(20)],
    ],
  },
  { section: 3, records: [['語', Uint8Array.of(0, 255)]] },
  {
    section: 3,
    records: [
      [Uint8Array.from({ length: 256 }, () => 255), Uint8Array.from({ length: 256 }, (_, index) => index)],
      [Uint8Array.from({ length: 257 }, () => 255), Uint8Array.from({ length: LONG }, (_, index) => (index * 7) & 255)],
    ],
  },
]

/** IDs of every form: hex and not, short and long, with long common prefixes, beyond one restart. */
export const GOLDEN_PAYLOAD_IDS: readonly string[] = [
  '!',
  '~',
  'a'.repeat(255),
  `${'a'.repeat(254)}b`,
  'ab',
  'abc',
  'abcd',
  'ABCD',
  '0'.repeat(64),
  '0'.repeat(128),
  'f'.repeat(200),
  ...Array.from({ length: 1500 }, (_, index) => sha256(`payload ${index}`)),
  ...Array.from({ length: 1500 }, (_, index) => `sha256:${sha256(`prefixed ${index}`)}`),
  ...Array.from({ length: 100 }, (_, index) => `share-1/block-${index}`),
]

/** All golden files. Those of codecs that this Node lacks are left out. */
export async function makeGoldens(): Promise<Goldens> {
  const ids = await payloadIdsObject(GOLDEN_PAYLOAD_IDS)
  const whole = await writeStream(GOLDEN_DATA, OPTIONS, ids)
  const noIds = await payloadIdsObject([])
  const empty = await writeStream([], { ...OPTIONS, storeKind: 'memory' }, noIds)
  const zstd = HAS_ZSTD ? await writeStream(GOLDEN_DATA, { ...OPTIONS, compress: 'zstd' }, ids) : undefined
  const named = await writeStream(GOLDEN_DATA, { ...OPTIONS, backupId: BACKUP_ID }, ids)
  const namedZstd = HAS_ZSTD ? await writeStream(GOLDEN_DATA, { ...OPTIONS, backupId: BACKUP_ID, compress: 'zstd' }, ids) : undefined
  return new Map([
    ...namedBackup('v1-named-stream', named, ids),
    ...(namedZstd === undefined ? [] : namedBackup('v1-named-zstd-stream', namedZstd, ids)),
    ...namedBackup('v2-unknown-feature', named, ids, { manifestVersion: 2, requires: ['time-travel'] }),
    ...backup('v1-key-value-stream', whole, ids, { purpose: 'golden', 'example.org/team': 'été' }),
    ...backup('v1-empty-store', empty, noIds, {}),
    ...(zstd === undefined ? [] : backup('v1-zstd-stream', zstd, ids, {}, 'zstd')),
    ...unknownFields(whole, ids),
    ...damagedFiles('v1-damaged-streams', await damagedGoldenStreams()),
    ...damagedFiles('v1-damaged-payload-ids', damagedPayloadIds(ids.bytes)),
    ...damagedFiles('v1-damaged-manifests', damagedManifests(manifestOf(whole, ids, {}))),
  ])
}

/** Streams with one thing wrong each, made from a small whole one. */
export async function damagedGoldenStreams(): Promise<Damaged[]> {
  const options = { ...OPTIONS, sections: ['first', 'second', 'third'] }
  const { bytes } = await writeStream(smallData('this stream has one thing wrong with it'), options)
  const other = await writeStream(smallData('this one is whole but is another one..'), { ...options, createdAtMs: CREATED_AT_MS + 1 })
  return damagedStreams(bytes, other.bytes)
}

function smallData(text: string): FrameRecords[] {
  return [
    { section: 0, records: [['a', text], ['b', text]] },
    { section: 0, records: [['c', text], ['d', text]] },
    { section: 1, records: [['m', text]] },
    { section: 2, records: [['x', Buffer.from(text)], ['y', Uint8Array.of(0, 255)]] },
  ]
}

type PayloadIds = Awaited<ReturnType<typeof payloadIdsObject>>

function backup(directory: string, { bytes, summary }: Written, ids: PayloadIds, labels: Record<string, string>, compression: 'none' | 'zstd' = 'none'): [string, Buffer][] {
  return [
    [`${directory}/payload`, bytes],
    [`${directory}/payload-ids`, ids.bytes],
    [`${directory}/manifest.json`, Buffer.from(encodeManifest({ ...manifestOf({ bytes, summary }, ids, labels), compression }))],
  ]
}

function manifestOf({ bytes, summary }: Written, ids: PayloadIds, labels: Record<string, string>): Parameters<typeof encodeManifest>[0] {
  return {
    manifestVersion: 1,
    backupId: BACKUP_ID,
    createdAt: new Date(CREATED_AT_MS).toISOString(),
    storeId: summary.storeId,
    storeKind: summary.storeKind,
    schemaVersion: summary.schemaVersion,
    payload: { bytes: bytes.byteLength, sha256: sha256(bytes) },
    payloadIds: { count: ids.count, bytes: ids.bytes.byteLength, sha256: sha256(ids.bytes) },
    records: summary.records,
    encryption: null,
    compression: 'none',
    labels,
    holdfastVersion: '0.1.0',
  }
}

/** As releases after 0.1.0 write it: the stream names its backup, the manifest says its content and objects. */
function namedBackup(directory: string, { bytes, summary }: Written, ids: PayloadIds, newer: object = {}): [string, Buffer][] {
  const manifest = { ...completeManifestOf(summary, { backupId: BACKUP_ID, payloadIdsBytes: ids.bytes.byteLength, labels: {} }), requires: undefined, holdfastVersion: '0.1.0', ...newer }
  return [
    [`${directory}/payload`, bytes],
    [`${directory}/payload-ids`, ids.bytes],
    [`${directory}/manifest.json`, Buffer.from(`${JSON.stringify(manifest, undefined, 2)}\n`)],
  ]
}

/** What a newer release of version 1 may add. */
function unknownFields(whole: Written, ids: PayloadIds): [string, Buffer][] {
  const list = frames(whole.bytes)
  const added = { later: [1, { deeper: ['text', Buffer.from([0])] }], alsoLater: 'x' }
  const bytes = sealed(list.map((frame) => (frame.type === 2 ? frame : withContent(frame, { ...contentOf(frame), ...added }))))
  const manifest = manifestOf({ ...whole, bytes }, ids, {})
  const later = { ...manifest, payload: { ...manifest.payload, parts: 1 }, pinned: true, notes: { text: 'a newer release of version 1 wrote this' } }
  return [
    ['v1-unknown-fields/payload', bytes],
    ['v1-unknown-fields/payload-ids', ids.bytes],
    ['v1-unknown-fields/manifest.json', Buffer.from(`${JSON.stringify(later, undefined, 2)}\n`)],
  ]
}

function damagedPayloadIds(whole: Buffer): Damaged[] {
  const lastBlock = blockStarts(whole).at(-1) ?? 0
  const made = (name: string, hex: string | Buffer, offset: number): Damaged => {
    const bytes = typeof hex === 'string' ? Buffer.concat([whole.subarray(0, 8), Buffer.from(hex.replaceAll(' ', ''), 'hex')]) : hex
    return { name, bytes, expected: { code: 'restore_corrupt', offset } }
  }
  return [
    made('empty-file', Buffer.alloc(0), 0),
    made('truncated-preamble', whole.subarray(0, 5), 0),
    made('truncated-block', whole.subarray(0, -1), lastBlock),
    made('truncated-block-header', Buffer.concat([whole, Buffer.alloc(7)]), whole.byteLength),
    made('flipped-bit-in-magic', flipped(whole, 9), 0),
    made('newer-version', flipped(whole, 6 * 8 + 1), 0),
    made('block-without-ids', '00000000 0000 01 00', 8),
    made('block-of-too-many', `04040000 0104 01 00 ${'00'.repeat(1025)}`, 8),
    made('block-smaller-than-could-be', '01000000 0100 01 01 aa  01000000 0100 01 01 bb', 17),
    made('block-width-too-large', `80000000 0100 80 00 ${'00'.repeat(128)}`, 8),
    made('block-shares-more-than-there-is', '02000000 0100 01 02 aaaa', 8),
    made('block-shares-too-little', '04000000 0200 02 00 aa01 aa02', 8),
    made('block-shares-too-much', '03000000 0200 02 01 aa 01 01', 8),
    made('block-length-differs', '03000000 0200 01 00 aabbcc', 8),
    made('block-length-claimed', 'ffffffff 0200 00 00 00016d 00016e', 8),
    made('descending', '02000000 0200 01 00 bbaa', 8),
    made('doubled', '02000000 0200 01 00 aaaa', 8),
    made('descending-blocks', '01000000 0100 01 01 bb  03000000 0100 00 00 000161', 17),
    made('text-descending', '06000000 0200 00 00 00017a 000179', 8),
    made('text-doubled', '05000000 0200 00 00 00017a 0100', 8),
    made('text-empty', '02000000 0100 00 00 0000', 8),
    made('text-with-space', '05000000 0100 00 00 0003 7a207a', 8),
    made('text-not-ascii', '05000000 0100 00 00 0003 7ae97a', 8),
    made('text-shares-more-than-there-is', '06000000 0200 00 00 00017a 02017a', 8),
    made('text-shares-too-little', '08000000 0200 00 00 00027a61 00027a62', 8),
    made('text-packable', '04000000 0100 00 00 0002 6162', 8),
    made('text-too-long', `04010000 0100 00 00 00ff ${'7a'.repeat(258)}`, 8),
    made('text-length-differs', '04000000 0100 00 00 00017a 00', 8),
    made('trailing-byte', Buffer.concat([whole, Buffer.alloc(1)]), whole.byteLength),
  ]
}

/** Where the blocks of a `payload-ids` object begin. */
function blockStarts(bytes: Buffer): number[] {
  const starts: number[] = []
  for (let at = 8; at < bytes.byteLength; at += 8 + bytes.readUInt32LE(at)) starts.push(at)
  return starts
}

function damagedManifests(manifest: Parameters<typeof encodeManifest>[0]): Damaged[] {
  const text = JSON.stringify(manifest, undefined, 2)
  const json = (name: string, change: object, code = 'manifest_invalid'): Damaged => raw(name, JSON.stringify({ ...manifest, ...change }, undefined, 2), code)
  const { storeId: _, ...withoutStoreId } = manifest
  return [
    json('newer-version', { manifestVersion: 2, payload: 'of a form that is not known yet' }, 'manifest_version_unsupported'),
    json('version-zero', { manifestVersion: 0 }, 'manifest_version_unsupported'),
    json('version-of-text', { manifestVersion: '1' }),
    json('version-of-fraction', { manifestVersion: 1.5 }),
    raw('empty-file', ''),
    raw('truncated', text.slice(0, -20)),
    raw('byte-order-mark', `\ufeff${text}`),
    raw('not-utf8', Buffer.concat([Buffer.from(text.slice(0, -2)), Buffer.from([0xff]), Buffer.from('}')])),
    raw('array', '[]'),
    raw('null', 'null'),
    raw('deeply-nested', '['.repeat(60_000)),
    raw('over-64-kib', text.padEnd(64 * 1024 + 1)),
    raw('field-missing', JSON.stringify(withoutStoreId)),
    json('backup-id-with-dots', { backupId: '../../../../../etc/passwd' }),
    json('backup-id-of-another', { backupId: '01JGZ7GK3G0000000000000002' }),
    json('created-at-not-utc', { createdAt: '2026-01-02T03:04:05.678+01:00' }),
    json('created-at-no-such-day', { createdAt: '2026-02-30T03:04:05.678Z' }),
    json('negative-number', { payload: { ...manifest.payload, bytes: -1 } }),
    raw('minus-zero', text.replace(/"schemaVersion": 1/, '"schemaVersion": -0')),
    json('unsafe-number', { payload: { ...manifest.payload, bytes: 2 ** 53 } }),
    json('fraction', { schemaVersion: 1.5 }),
    json('number-as-text', { schemaVersion: '1' }),
    json('sha256-in-capitals', { payload: { ...manifest.payload, sha256: 'A'.repeat(64) } }),
    json('sha256-too-short', { payloadIds: { ...manifest.payloadIds, sha256: 'a'.repeat(63) } }),
    json('sha256-missing', { payloadIds: { ...manifest.payloadIds, sha256: undefined } }),
    json('payload-an-array', { payload: [] }),
    json('records-of-wrong-name', { records: { '../x': 1 } }),
    raw('records-with-proto', text.replace('"records": {', '"records": {"__proto__": 1,')),
    raw('fields-in-proto', `{"manifestVersion":1,"__proto__":${text}}`),
    json('encrypted', { encryption: { method: 'age' } }),
    json('unknown-compression', { compression: 'lzma' }),
    json('label-of-wrong-name', { labels: { Team: 'x' } }),
    json('label-name-too-long', { labels: { ['a'.repeat(64)]: 'x' } }),
    json('label-value-too-long', { labels: { team: 'x'.repeat(257) } }),
    json('label-of-half-a-pair', { labels: { team: '\ud800' } }),
    json('labels-65', { labels: Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`label-${index}`, 'x'])) }),
    json('store-kind-of-wrong-form', { storeKind: 'Level' }),
  ]
}

function raw(name: string, content: string | Buffer, code = 'manifest_invalid'): Damaged {
  return { name: `${name}.json`, bytes: Buffer.from(content), expected: { code } }
}

function damagedFiles(directory: string, damaged: readonly Damaged[]): [string, Buffer][] {
  const expected = Object.fromEntries(damaged.map(({ name, expected }) => [name, expected]))
  return [
    ...damaged.map(({ name, bytes }): [string, Buffer] => [`${directory}/${name}`, bytes]),
    [`${directory}/expected.json`, Buffer.from(`${JSON.stringify(expected, undefined, 2)}\n`)],
  ]
}

function sha256(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex')
}
