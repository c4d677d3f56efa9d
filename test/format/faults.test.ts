/** The rows of FORMAT.md, section "Faults": each names a fault that is crafted here, and says how every reader refuses it. */
import { readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { encode } from 'cbor-x'
import { MemoryLevel } from 'memory-level'
import { describe, expect, it } from 'vitest'
import { fsDestination } from '../../destinations/fs/index.ts'
import { findZstd } from '../../src/format/compression.ts'
import { manifestOf, parseManifest } from '../../src/format/manifest.ts'
import { verifyBackup } from '../../src/repository/verify-backup.ts'
import { levelBackupable } from '../../src/stores/level/index.ts'
import { type Frame, changed, contentOf, flipped, frameStarts, frames, numbered, preamble, sealed, withContent } from '../support/stream-surgery.ts'
import { chunksOf, failureOf, payloadIdsObject, readStreamWhole, writeStream } from '../support/streams.ts'
import { tempDir } from '../support/temp-dir.ts'

const FORMAT = readFileSync(join(import.meta.dirname, '../../src/format/FORMAT.md'), 'utf8')
const SECTIONS = ['entries', 'more', 'rest']
const DATA = [
  { section: 0, records: [['a', 'one'], ['b', 'two']] },
  { section: 1, records: [['m', 'é']] },
] as const
const HAS_ZSTD = (await findZstd()) !== undefined

const { bytes: WHOLE } = await writeStream(DATA, { sections: SECTIONS })
const LIST = frames(WHOLE)
const TRAILER = LIST.length - 1
const ZSTD = HAS_ZSTD ? frames((await writeStream(DATA, { sections: SECTIONS, compress: 'zstd' })).bytes) : []

/** A stream with one fault, and the number of the frame that has it. */
interface Crafted {
  readonly bytes: Buffer
  readonly frame?: number
}

const atFrame = (index: number, change: Parameters<typeof changed>[2], options: { readonly keepDigest?: boolean } = {}): Crafted => ({
  bytes: sealed(changed(LIST, index, change), options),
  frame: index,
})
const control = (index: number, change: object): Crafted => atFrame(index, (frame) => withContent(frame, { ...contentOf(frame), ...change }), { keepDigest: true })
const cut = (frame: number, bytes: number): Crafted => ({ bytes: WHOLE.subarray(0, (frameStarts(WHOLE)[frame] ?? 0) + bytes), frame })
const head = (options: Parameters<typeof preamble>[0]): Crafted => ({ bytes: Buffer.concat([preamble(options), WHOLE.subarray(16)]) })
const zstd = (change: (stored: Buffer) => Buffer, rawBytes?: number): Crafted => {
  const frame = ZSTD[1] as Frame
  return { bytes: sealed(changed(ZSTD, 1, { stored: change(frame.stored), rawBytes: rawBytes ?? frame.rawBytes })), frame: 1 }
}
const content = (stored: Buffer, records = 1): Crafted => atFrame(1, { stored, rawBytes: stored.byteLength, records })
const columns = (keys: unknown, values: unknown, lengths = [Buffer.of(1, 0, 0, 0), Buffer.of(1, 0, 0, 0)]): Crafted => content(encode([lengths[0], keys, lengths[1], values]))
const patched = (at: number, ...bytes: readonly number[]) => (stored: Buffer): Buffer => {
  const copy = Buffer.from(stored)
  copy.set(bytes, at)
  return copy
}
const CONTROL_TYPES = [0, TRAILER]

/** By the names of the rows. */
const STREAMS: Readonly<Record<string, () => readonly Crafted[]>> = {
  magic: () => [...Array(8).keys()].map((at) => ({ bytes: flipped(WHOLE, at * 8) })).concat({ bytes: Buffer.from('HF') }),
  'preamble-short': () => [0, 1, 8, 15].map((length) => ({ bytes: WHOLE.subarray(0, length) })),
  'newer-version': () => [head({ version: 2 }), head({ version: 65_535, flags: 1 })],
  'preamble-crc': () => [{ bytes: flipped(WHOLE, 8 * 8 + 1) }, { bytes: flipped(WHOLE, 12 * 8) }],
  'version-zero': () => [head({ version: 0 }), head({ version: 0, flags: 1 })],
  flags: () => [head({ flags: 1 }), head({ flags: 0x8000 })],
  'header-short': () => [cut(0, 0), cut(0, 23), cut(1, 0), cut(1, 1), cut(TRAILER, 0), cut(TRAILER, 23)],
  type: () => [atFrame(1, { type: 0 }), atFrame(1, { type: 4 }), atFrame(0, { type: 255 })],
  codec: () => [atFrame(1, { codec: 2 }), ...CONTROL_TYPES.map((index) => atFrame(index, { codec: 1 }, { keepDigest: true }))],
  sequence: () => [atFrame(1, { sequence: 2n }), atFrame(0, { sequence: 1n }), atFrame(1, { sequence: 2n ** 64n - 1n })],
  limits: () => [
    atFrame(1, { storedBytes: 16 * 2 ** 20 + 1, rawBytes: 16 * 2 ** 20 + 1 }),
    atFrame(1, { codec: 1, rawBytes: 64 * 2 ** 20 + 1 }),
    atFrame(0, { storedBytes: 65_537, rawBytes: 65_537 }),
  ],
  lengths: () => [atFrame(1, { rawBytes: 1 }), atFrame(0, { rawBytes: 1 })],
  empty: () => [atFrame(1, { stored: Buffer.alloc(0), rawBytes: 0 }), atFrame(1, { codec: 1, rawBytes: 0 }), atFrame(1, { codec: 1, storedBytes: 0 })],
  'no-records': () => [atFrame(1, { records: 0 })],
  'control-records': () => CONTROL_TYPES.flatMap((index) => [atFrame(index, { records: 1 }, { keepDigest: true }), atFrame(index, { section: 1 }, { keepDigest: true })]),
  'stored-short': () => [cut(0, 24), cut(1, 25), cut(TRAILER, WHOLE.byteLength - (frameStarts(WHOLE)[TRAILER] ?? 0) - 1)],
  crc: () => [0, 1, TRAILER].map((frame) => ({ bytes: flipped(WHOLE, 8 * ((frameStarts(WHOLE)[frame] ?? 0) + 26)), frame })),
  'zstd-form': () => [
    zstd((stored) => Buffer.concat([stored, Buffer.alloc(1)])),
    zstd((stored) => Buffer.concat([stored, stored])),
    zstd((stored) => stored.subarray(0, -1)),
    zstd((stored) => stored.subarray(0, 5)),
    zstd((stored) => stored.subarray(0, 8)),
    zstd((stored) => stored, (ZSTD[1] as Frame).rawBytes + 1),
    zstd(patched(0, 0)),
    zstd(() => Buffer.from('502a4d18 01000000 00'.replaceAll(' ', ''), 'hex')),
    zstd((stored) => patched(4, stored.readUInt8(4) | 1)(stored)),
    zstd((stored) => patched(4, stored.readUInt8(4) | 8)(stored)),
    zstd((stored) => patched(6, stored.readUInt8(6) | 6)(stored)),
    // No size; and a window of 2^27 bytes.
    zstd(() => Buffer.from('28b52ffd 00 00 090000 61'.replaceAll(' ', ''), 'hex'), 1),
    zstd(() => Buffer.from('28b52ffd 80 88 01000000 090000 61'.replaceAll(' ', ''), 'hex'), 1),
    // Blocks of one repeated byte: of 200,000 bytes, and of 2,000 where the window is 1,024.
    zstd(() => Buffer.from('28b52ffd a0 400d0300 036a18 61'.replaceAll(' ', ''), 'hex'), 200_000),
    zstd(() => Buffer.from('28b52ffd 80 00 d0070000 833e00 61'.replaceAll(' ', ''), 'hex'), 2000),
  ],
  'zstd-content': () => [
    // A compressed block of zeros, and a raw block of one byte where two are declared.
    zstd(() => Buffer.from('28b52ffd 20 09 250000 00000000'.replaceAll(' ', ''), 'hex'), 9),
    zstd(() => Buffer.from('28b52ffd 20 02 090000 61'.replaceAll(' ', ''), 'hex'), 2),
  ],
  'first-frame': () => [
    { bytes: sealed(numbered(LIST.slice(1))), frame: 0 },
    { bytes: sealed(numbered(LIST.slice(TRAILER))), frame: 0 },
  ],
  'header-content': () => [
    control(0, { backupId: 'no-ulid' }),
    control(0, { format: 'other' }),
    control(0, { sections: [] }),
    control(0, { sections: ['a', 'a'] }),
    control(0, { storeKind: 'Level' }),
    control(0, { storeId: 'with space' }),
    control(0, { schemaVersion: 'text' }),
    control(0, { later: null }),
    control(0, { later: [[[[[[[[1]]]]]]]] }),
    atFrame(0, (frame) => withContent(frame, Buffer.concat([frame.stored, Buffer.of(0)]))),
    atFrame(0, (frame) => withContent(frame, Object.fromEntries(Object.entries(contentOf(frame)).slice(1)))),
  ],
  'second-header': () => [{ bytes: sealed(numbered([LIST[0], ...LIST] as Frame[])), frame: 1 }],
  section: () => [atFrame(1, { section: 3 }), { bytes: sealed(numbered([LIST[0], LIST[2], LIST[1], LIST[3]] as Frame[])), frame: 2 }],
  'trailer-content': () => [control(TRAILER, { payloadIdDigest: Buffer.alloc(31) }), control(TRAILER, { frames: 'many' }), control(TRAILER, { later: -1 })],
  'trailer-frames': () => [control(TRAILER, { frames: LIST.length + 1 })],
  'trailer-records': () => [control(TRAILER, { records: [2, 2, 0] }), control(TRAILER, { records: [2, 1] }), control(TRAILER, { records: [2, 1, 0, 0] })],
  'trailer-sha256': () => [control(TRAILER, { sha256: Buffer.alloc(32) })],
  'after-trailer': () => [{ bytes: Buffer.concat([WHOLE, Buffer.of(0)]) }, { bytes: Buffer.concat([WHOLE, WHOLE]) }],
}

const CONTENTS: Readonly<Record<string, () => readonly Crafted[]>> = {
  'records-count': () => [content(encode([Buffer.alloc(4 * 65_537), '', Buffer.alloc(4 * 65_537), '']), 65_537)],
  'records-form': () => [
    content(encode([1, 2, 3])),
    content(encode({ a: 1 })),
    columns(1, 'v'),
    columns('k', null),
    columns('kk', 'v'),
    columns('k', 'v', [Buffer.of(1, 0, 0, 0), Buffer.alloc(8)]),
    content(Buffer.concat([encode([Buffer.of(1, 0, 0, 0), 'k', Buffer.of(1, 0, 0, 0), 'v']), Buffer.of(0)])),
    content(Buffer.from('84 44 01000000 61 ff 44 01000000 61 76'.replaceAll(' ', ''), 'hex')),
    { ...content(encode([Buffer.of(1, 0, 0, 0, 1, 0, 0, 0), 'é', Buffer.of(1, 0, 0, 0, 0, 0, 0, 0), 'v']), 2) },
  ],
  'records-order': () => [
    content(encode([Buffer.of(1, 0, 0, 0, 1, 0, 0, 0), 'ba', Buffer.of(1, 0, 0, 0, 0, 0, 0, 0), 'v']), 2),
    content(encode([Buffer.of(1, 0, 0, 0, 1, 0, 0, 0), 'aa', Buffer.of(1, 0, 0, 0, 0, 0, 0, 0), 'v']), 2),
  ],
}

interface Row {
  readonly name: string
  readonly code: string
  readonly offset: string
  readonly frame: string
}

/** The rows of a table below a heading, cell by cell. */
function cellsBelow(heading: string): readonly (readonly string[])[] {
  const text = FORMAT.slice(FORMAT.indexOf(`\n### ${heading}\n`))
  const table = /\n\|[^\n]*\|\n\| ---[^\n]*\n((?:\|[^\n]*\n)+)/.exec(text)?.[1] ?? ''
  return table.trimEnd().split('\n').map((line) => line.split('|').slice(1, -1).map((cell) => cell.trim()))
}

function rowsBelow(heading: string): readonly Row[] {
  return cellsBelow(heading).map(([fault = '', code = '', offset = '', frame = '']) => ({ name: fault.split(':')[0] ?? '', code: code.replaceAll('`', ''), offset, frame }))
}

function expectedOf({ code, offset, frame }: Row, crafted: Crafted): object {
  const starts = crafted.frame === undefined ? undefined : crafted.frame === 0 ? 16 : offsetOf(crafted.bytes, crafted.frame)
  const offsets: Readonly<Record<string, number | undefined>> = { '': undefined, 0: 0, 8: 8, end: crafted.bytes.byteLength, after: WHOLE.byteLength, frame: starts }
  return { code, offset: offsets[offset], frame: frame === 'n' ? crafted.frame : undefined }
}

/** Where a frame begins, by the lengths of those before it. */
function offsetOf(bytes: Buffer, frame: number): number {
  let at = 16
  for (let index = 0; index < frame; index++) at += 28 + bytes.readUInt32LE(at)
  return at
}

async function verdictOf(read: Promise<unknown>): Promise<object> {
  const { code, offset, frame } = await failureOf(read)
  return { code, offset, frame }
}

describe('FORMAT.md, faults of a stream', () => {
  const rows = rowsBelow('Faults of a stream')

  it('names the faults that are crafted here, in order', () => {
    expect(rows.map(({ name }) => name)).toEqual(Object.keys(STREAMS))
  })

  it.each(rows.filter(({ name }) => HAS_ZSTD || !name.startsWith('zstd')).map((row) => [row.name, row] as const))('%s', async (name, row) => {
    for (const [index, crafted] of (STREAMS[name]?.() ?? []).entries()) {
      for (const lengths of [[1 << 20], [1, 0, 30]]) expect(await verdictOf(readStreamWhole(chunksOf(crafted.bytes, lengths))), `${name} ${index}`).toEqual(expectedOf(row, crafted))
    }
  })

  it('come in the order of the rows: what is first is reported', async () => {
    const cutOff = atFrame(1, { type: 9 }).bytes.subarray(0, offsetOf(WHOLE, 1) + 24)
    expect(await verdictOf(readStreamWhole(chunksOf(cutOff)))).toMatchObject({ offset: offsetOf(WHOLE, 1), frame: 1 })
    const damaged = flipped(Buffer.concat([preamble({ version: 2, flags: 1 }), WHOLE.subarray(16)]), 12 * 8)
    expect(await verdictOf(readStreamWhole(chunksOf(damaged)))).toMatchObject({ code: 'restore_corrupt', offset: 0 })
    expect(await verdictOf(readStreamWhole(chunksOf(flipped(head({ version: 2 }).bytes, 0))))).toMatchObject({ code: 'restore_corrupt', offset: 0 })
    const twice = flipped(Buffer.concat([WHOLE, Buffer.of(0)]), 8 * (offsetOf(WHOLE, 2) + 30))
    expect(await verdictOf(readStreamWhole(chunksOf(twice)))).toMatchObject({ frame: 2 })
  })
})

describe('FORMAT.md, faults of content', () => {
  const rows = rowsBelow('Faults of content')

  it('names the faults that are crafted here, in order', () => {
    expect(rows.map(({ name }) => name)).toEqual(Object.keys(CONTENTS))
  })

  it.each(rows.map((row) => [row.name, row] as const))('%s', async (name, row) => {
    for (const [index, crafted] of (CONTENTS[name]?.() ?? []).entries()) {
      const store = levelBackupable(new MemoryLevel({ keyEncoding: 'utf8', valueEncoding: 'utf8' }), { payloadIds: () => [], sections: [{ name: 'entries' }] })
      expect(await verdictOf(store.restore(chunksOf(oneSection(crafted).bytes))), `${name} ${index}`).toEqual(expectedOf(row, oneSection(crafted)))
    }
  })
})

/** The same frame in a stream of one section, which a store of other people's records takes. */
function oneSection({ bytes, frame }: Crafted): Crafted {
  const list = changed(frames(bytes), 0, (header) => withContent(header, { ...contentOf(header), sections: ['entries'] }))
  return { bytes: sealed([list[0], list[1]] as Frame[]), ...(frame === undefined ? {} : { frame }) }
}

describe('FORMAT.md, order across objects', () => {
  const BACKUP_ID = '01JGZ7GK3G0000000000000001'

  it('a backup with every fault is refused at each step once those before it are mended', async () => {
    const ids = await payloadIdsObject(['one', 'two'])
    const { bytes: payload, summary } = await writeStream(DATA, { sections: SECTIONS, backupId: BACKUP_ID }, ids)
    const moved = await writeStream(DATA, { sections: SECTIONS, backupId: '01JGZ7GK3G0000000000000002' }, ids)
    const brokenIds = patched(0, 0)(ids.bytes)
    const fields = (summary: Parameters<typeof manifestOf>[0]): object => manifestOf(summary, { backupId: BACKUP_ID, payloadIdsBytes: ids.bytes.byteLength, labels: {} })
    const manifest = fields(summary)
    const [path, directory] = [await tempDir(), BACKUP_ID]
    await mkdir(join(path, directory))
    const put = (name: string, content: string | Buffer): Promise<void> => writeFile(join(path, directory, name), content)
    const json = (value: object): Promise<void> => put('manifest.json', JSON.stringify(value))
    await put('payload', payload.subarray(1))
    await put('payload-ids', brokenIds.subarray(1))
    const steps: readonly (() => Promise<unknown>)[] = [
      async () => undefined,
      () => put('manifest.json', '{"manifestVersion": "2"'),
      () => json({ ...manifest, manifestVersion: '2', requires: 'parts', labels: 1 }),
      () => json({ ...manifest, manifestVersion: 2, requires: 'parts', labels: 1 }),
      () => json({ ...manifest, manifestVersion: 2, requires: ['parts'], labels: 1 }),
      () => json({ ...manifest, labels: 1 }),
      () => json(manifest),
      async () => await Promise.all([put('payload', flipped(payload, 8 * 60)), put('payload-ids', brokenIds)]),
      async () => await Promise.all([json(fields(moved.summary)), put('payload', moved.bytes)]),
      async () => await Promise.all([json(manifest), put('payload', payload)]),
      () => put('payload-ids', flipped(ids.bytes, 8 * (ids.bytes.byteLength - 1))),
    ]
    const documented = cellsBelow('Order across objects').slice(0, steps.length)
    for (const [index, [step, , fault = '']] of documented.entries()) {
      await steps[index]?.()
      const code = fault === 'as below' ? 'restore_corrupt' : (/`([a-z_]+)`/.exec(fault)?.[1] ?? '')
      const failure = await failureOf(verifyBackup({ destination: fsDestination({ path }), backupId: BACKUP_ID }))
      expect(failure.code, `step ${step}: ${failure.message}`).toBe(code)
    }
    await put('payload-ids', ids.bytes)
    await verifyBackup({ destination: fsDestination({ path }), backupId: BACKUP_ID })
  })
  it('step 3 takes any integer of a double that is exact, and step 6 passes over whatever RFC 8259 allows', async () => {
    const { summary } = await writeStream(DATA, { sections: SECTIONS })
    const manifest = JSON.stringify(manifestOf(summary, { backupId: BACKUP_ID, payloadIdsBytes: 8, labels: {} }))
    const parse = (text: string): unknown => parseManifest(Buffer.from(text), BACKUP_ID)
    const version = (form: string): unknown => parse(manifest.replace(/"manifestVersion": ?1/, `"manifestVersion":${form}`))
    for (const form of ['1.5', '9007199254740992', '-9007199254740992', '1e300', '1e400', '"1"']) expect(() => version(form), form).toThrow(/manifestVersion is not/)
    for (const form of ['-0', '0', '-1', '3.0', '9007199254740991']) expect(() => version(form), form).toThrow(/this release does not read version/)
    for (const form of ['1.0', '10e-1']) expect(version(form)).toMatchObject({ manifestVersion: 1 })
    for (const value of ['1e400', String.raw`"\ud800"`, `${'['.repeat(30_000)}${']'.repeat(30_000)}`]) {
      expect(parse(`${manifest.slice(0, -1)},"other":${value}}`)).toMatchObject({ backupId: BACKUP_ID })
    }
    for (const requires of ['["parts"]', '[1]', '{}', 'null']) {
      const other = manifest.replace(/"requires": ?\[\]/, `"requires":${requires}`)
      expect(await failureOf(Promise.resolve().then(() => parse(other)))).toMatchObject({ code: 'manifest_invalid' })
    }
  })
})

describe('FORMAT.md, unknown fields', () => {
  /** The header with a field `zz` of these bytes more. */
  const header = (...value: readonly number[]): Buffer =>
    sealed(changed(LIST, 0, (frame) => {
      const fields = patched(2, frame.stored.readUInt8(2) + 1)(frame.stored)
      const stored = Buffer.concat([fields, Buffer.from([0x62, 0x7a, 0x7a, ...value])])
      return { ...frame, stored, rawBytes: stored.byteLength }
    }))
  const arrays = (levels: number): readonly number[] => [...Array<number>(levels - 1).fill(0x81), 0x01]

  it('may hold a key twice in a map within them, and 8 levels', async () => {
    for (const value of [[0xa2, 0x61, 0x61, 0x01, 0x61, 0x61, 0x02], arrays(8)]) {
      expect((await readStreamWhole(chunksOf(header(...value)))).data.length).toBe(DATA.length)
    }
    expect(await failureOf(readStreamWhole(chunksOf(header(...arrays(9)))))).toMatchObject({ code: 'restore_corrupt', frame: 0 })
  })
})
