/** Ways to change what the frames of a metadata store's stream hold; each frame, count and digest is put right afterwards. */
import { compress } from '@cloudpss/zstd/wasm'
import { encode } from 'cbor-x'
import { contentOf } from '../../src/format/frame.ts'
import { encodeRecords } from '../../src/format/records.ts'
import type { Crafted, DataFrame } from '../support/rebuilt-stream.ts'

export type TextRecord = readonly [key: string, value: string]

/** The records of a stream, by section, and the random choices of one case. */
export interface Case {
  readonly sections: readonly string[]
  readonly records: readonly (readonly TextRecord[])[]
  readonly ids: readonly string[]
  /** A whole number from 0 on, below the limit. */
  readonly pick: (limit: number) => number
}

/** Makes the frames of one case; `undefined` where the store has nothing to change in this way. */
export type Mutation = (given: Case) => Crafted | undefined

function frameOf(section: number, records: readonly TextRecord[]): DataFrame {
  return { section, records: records.length, raw: Buffer.from(contentOf(encodeRecords(records))) }
}

/** Frames of up to so many records. */
function cut(records: Case['records'], most = 40): DataFrame[] {
  return records.flatMap((list, section) => {
    const cuts: DataFrame[] = []
    for (let from = 0; from < list.length; from += most) cuts.push(frameOf(section, list.slice(from, from + most)))
    return cuts
  })
}

/** Changes the records of one section that has at least so many. */
function inSection(change: (list: readonly TextRecord[], given: Case, section: number) => readonly TextRecord[], { least = 1, of }: { readonly least?: number; readonly of?: string } = {}): Mutation {
  return (given) => {
    const candidates = given.records.flatMap((list, section) => (list.length >= least && (of === undefined || given.sections[section] === of) ? [section] : []))
    const section = candidates[given.pick(candidates.length)]
    if (section === undefined) return undefined
    return { frames: cut(given.records.map((list, index) => (index === section ? change(list, given, section) : list)), 1 + given.pick(60)) }
  }
}

/** Changes the raw bytes of one frame, or what its header counts. */
function inFrame(change: (frame: DataFrame, given: Case) => DataFrame): Mutation {
  return (given) => {
    const list = cut(given.records)
    const at = given.pick(list.length)
    return { frames: list.map((frame, index) => (index === at ? change(frame, given) : frame)) }
  }
}

/** The four columns of a frame, to be encoded otherwise. */
function columns({ raw, records }: DataFrame, change: (columns: [Buffer, string, Buffer, string]) => unknown): Buffer {
  const keysAt = 1 + 5 + 4 * records
  const keysEnd = keysAt + 5 + raw.readUInt32BE(keysAt + 1)
  const valuesAt = keysEnd + 5 + 4 * records
  return encode(change([raw.subarray(6, keysAt), raw.toString('utf8', keysAt + 5, keysEnd), raw.subarray(keysEnd + 5, valuesAt), raw.toString('utf8', valuesAt + 5)]))
}

function changedText(text: string, pick: Case['pick']): string {
  const at = pick(text.length + 1)
  const letters = ['0', '1', '9', 'a', 'Z', ' ', '"', '/', '~', 'é', ',', '{', '\u0000', '-', '.']
  const letter = letters[pick(letters.length)] ?? ''
  return [text.slice(0, at) + letter + text.slice(at + 1), text.slice(0, at) + letter + text.slice(at), text.slice(0, at) + text.slice(at + 1)][pick(3)] ?? text
}

const replaceAt = (list: readonly TextRecord[], at: number, change: (record: TextRecord) => TextRecord): TextRecord[] => list.map((record, index) => (index === at ? change(record) : record))

export const MUTATIONS: Readonly<Record<string, Mutation>> = {
  'nothing changed': ({ records }) => ({ frames: cut(records, 1000) }),
  'cut into other frames': ({ records, pick }) => ({ frames: cut(records, 1 + pick(30)) }),
  'columns as bytes': inFrame((frame) => ({ ...frame, raw: columns(frame, ([keys, keyText, values, valueText]) => [keys, Buffer.from(keyText), values, Buffer.from(valueText)]) })),
  'a setting of another value': inSection((list, { pick }) => replaceAt(list, pick(list.length), ([key]) => [key, '"other"']), { of: 'settings' }),
  'a setting dropped': inSection((list, { pick }) => list.toSpliced(pick(list.length), 1), { of: 'settings' }),
  'another time of a file': inSection((list, { pick }) => replaceAt(list, pick(list.length), ([key, value]) => [key, value.replace(/"changedAtNs":"\d+"/, '"changedAtNs":"77"')]), { of: 'inodes' }),
  'zstd frames': ({ records }) => ({ frames: cut(records).map((frame) => ({ ...frame, zstd: Buffer.from(compress(frame.raw, 1)) })) }),
  'zstd frames in a manifest that says none': ({ records }) => ({ frames: cut(records).map((frame) => ({ ...frame, zstd: Buffer.from(compress(frame.raw, 1)) })), manifest: { compression: 'none' } }),

  'two records swapped': inSection((list, { pick }) => {
    const at = pick(list.length - 1)
    return list.with(at, list[at + 1] as TextRecord).with(at + 1, list[at] as TextRecord)
  }, { least: 2 }),
  'a record doubled': inSection((list, { pick }) => {
    const at = pick(list.length)
    return list.toSpliced(at, 0, list[at] as TextRecord)
  }),
  'two frames swapped': ({ records, pick }) => {
    const list = cut(records, 5)
    const at = list.flatMap((frame, index) => (frame.section === list[index + 1]?.section ? [index] : []))
    const first = at[pick(at.length)]
    return first === undefined ? undefined : { frames: list.with(first, list[first + 1] as DataFrame).with(first + 1, list[first] as DataFrame) }
  },
  'a frame doubled': ({ records, pick }) => {
    const list = cut(records, 5)
    const at = pick(list.length)
    return { frames: list.toSpliced(at, 0, list[at] as DataFrame) }
  },
  'a frame in the next section': ({ records, sections, pick }) => {
    const list = cut(records)
    const last = list.flatMap((frame, index) => (frame.section < sections.length - 1 && frame.section !== list[index + 1]?.section ? [index] : []))
    const at = last[pick(last.length)]
    return at === undefined ? undefined : { frames: list.with(at, { ...(list[at] as DataFrame), section: (list[at]?.section ?? 0) + 1 }) }
  },
  'a record in another section': (given) => {
    const [from, to] = [given.pick(given.records.length), given.pick(given.records.length)]
    const moved = given.records[from]?.[0]
    if (moved === undefined || from === to) return undefined
    return { frames: cut(given.records.map((list, section) => (section === from ? list.slice(1) : section === to ? [moved, ...list] : list))) }
  },
  'sections in another order': ({ records, sections }) => ({ frames: cut(records.toReversed()), sections: sections.toReversed() }),

  'a count too high': inFrame((frame) => ({ ...frame, records: frame.records + 1 })),
  'a count too low': inFrame((frame) => ({ ...frame, records: frame.records + (frame.records > 1 ? -1 : 3) })),
  'not CBOR': inFrame((frame, { pick }) => ({ ...frame, raw: Buffer.from([0xff, ...Array.from({ length: pick(20) }, () => pick(256))]) })),
  'CBOR cut short': inFrame((frame, { pick }) => ({ ...frame, raw: frame.raw.subarray(0, 1 + pick(frame.raw.byteLength - 1)) })),
  'bytes after the CBOR': inFrame((frame, { pick }) => ({ ...frame, raw: Buffer.concat([frame.raw, Buffer.alloc(1 + pick(9))]) })),
  'three columns': inFrame((frame) => ({ ...frame, raw: columns(frame, (four) => four.slice(0, 3)) })),
  'five columns': inFrame((frame) => ({ ...frame, raw: columns(frame, (four) => [...four, 'x']) })),
  'a number for a column': inFrame((frame) => ({ ...frame, raw: columns(frame, ([a, b, c]) => [a, b, c, 7]) })),
  'a map for the array': inFrame((frame) => ({ ...frame, raw: columns(frame, ([a, b, c, d]) => ({ a, b, c, d })) })),
  'a length that does not fit': inFrame((frame) => ({ ...frame, raw: columns(frame, ([a, b, c, d]) => [Buffer.concat([Buffer.of((a[0] ?? 0) + 1), a.subarray(1)]), b, c, d]) })),
  'text that is not UTF-8': inFrame((frame) => {
    const raw = Buffer.from(frame.raw)
    raw[raw.byteLength - 1] = 0xff
    return { ...frame, raw }
  }),
  'any byte of a frame changed': inFrame((frame, { pick }) => {
    const raw = Buffer.from(frame.raw)
    const at = pick(raw.byteLength)
    raw[at] = (raw[at] ?? 0) ^ (1 << pick(8))
    return { ...frame, raw }
  }),
  'bytes after a zstd frame': inFrame((frame) => ({ ...frame, zstd: Buffer.concat([compress(frame.raw, 1), Buffer.of(0)]) })),

  'a value changed': inSection((list, { pick }) => replaceAt(list, pick(list.length), ([key, value]) => [key, changedText(value, pick)])),
  'a key changed': inSection((list, { pick }) => replaceAt(list, pick(list.length), ([key, value]) => [changedText(key, pick), value])),
  'a space in a value': inSection((list, { pick }) => replaceAt(list, pick(list.length), ([key, value]) => [key, value.replace(':', ': ')]), { of: 'inodes' }),
  'a number in another form': inSection((list, { pick }) => replaceAt(list, pick(list.length), ([key, value]) => [key, value.replace(/:(\d+)/, ':$1.0')]), { of: 'entries' }),
  'a record dropped': inSection((list, { pick }) => list.toSpliced(pick(list.length), 1)),
  'a reference dropped': inSection((list, { pick }) => list.toSpliced(pick(list.length), 1), { of: 'references' }),
  'a reference of nothing': inSection((list) => [...list, ['references/~~~ i0000000000000001', ''] as const].toSorted(([a], [b]) => (a < b ? -1 : 1)), { of: 'references' }),
  'a block dropped': inSection((list, { pick }) => replaceAt(list, pick(list.length), ([key, value]) => [key, value.replace(/^\[\[[^\]]*\],/, '[')]), { of: 'blocks' }),
  'a lock of a directory': inSection((list, { pick }) => replaceAt(list, pick(list.length), ([key, value]) => [key.replace(/\d{16}/, '0000000000000001'), value]), { of: 'locks' }),
  'a lock of nothing': inSection((list) => list.with(list.length - 1, ['locks/0000000000009999/0000000000000000/a', '{"kind":"shared"}']), { of: 'locks' }),
  'other used bytes': inSection((list) => list.map(([key, value]) => [key, key.endsWith('bytes') ? `${value}1` : value] as const), { of: 'counters' }),
  'an inode number that is given again': inSection((list) => list.map(([key, value]) => [key, key.endsWith('inode') ? '3' : value] as const), { of: 'counters' }),
  'another number of links': inSection((list, { pick }) => replaceAt(list, pick(list.length), ([key, value]) => [key, value.replace(/"links":\d+/, '"links":77')]), { of: 'inodes' }),
  'one payload ID more': ({ records, ids }) => ({ frames: cut(records), ids: [...ids, 'zzz-more'] }),
  'one payload ID less': ({ records, ids, pick }) => ({ frames: cut(records), ids: ids.toSpliced(pick(ids.length), 1) }),
  'another payload ID': ({ records, ids, pick }) => ({ frames: cut(records), ids: ids.with(pick(ids.length), 'zzz-other') }),
  'a manifest that says zstd': ({ records }) => ({ frames: cut(records), manifest: { compression: 'zstd' } }),
  'a manifest of another time': ({ records }) => ({ frames: cut(records), manifest: { createdAt: '2020-01-01T00:00:00.000Z' } }),
  'a manifest of another store': ({ records }) => ({ frames: cut(records), manifest: { storeId: 'another' } }),
}
