/** Everything that can be wrong with a stream, by name: how to make it from a whole one, and what a reader must say of it. */
import { encode } from 'cbor-x'
import { type Frame, changed, contentOf, flipped, frameStarts, frames, numbered, pieces, preamble, sealed, withContent } from './stream-surgery.ts'

/** What is to be found where. */
export interface Expected {
  readonly code: string
  readonly offset?: number | undefined
  readonly frame?: number | undefined
}

export interface Damaged {
  readonly name: string
  readonly bytes: Buffer
  readonly expected: Expected
}

/** `whole` has four data frames: two of the first section, one of the second, one of the third. `other` is another stream of the same form. */
export function damagedStreams(whole: Buffer, other: Buffer): Damaged[] {
  const parts = pieces(whole)
  const otherParts = pieces(other)
  const starts = frameStarts(whole)
  const list = frames(whole)
  const last = list.length - 1
  const at = (frame: number): Expected => ({ code: 'restore_corrupt', offset: starts[frame], frame })
  const frame = (index: number): Frame => list[index] as Frame
  const resealed = (index: number, change: Partial<Frame> | ((frame: Frame) => Frame), keepDigest = false): Buffer =>
    sealed(changed(list, index, change), { keepDigest })
  const header = (change: (fields: Record<string, unknown>) => Record<string, unknown>): Buffer =>
    resealed(0, (frame) => withContent(frame, change(contentOf(frame))))
  const trailer = (change: Record<string, unknown>): Buffer => resealed(last, (frame) => withContent(frame, { ...contentOf(frame), ...change }), true)
  const records = (content: unknown, count: number): Buffer => resealed(1, (frame) => withContent({ ...frame, records: count }, content))
  const bit = (index: number, byte: number): Buffer => flipped(whole, ((starts[index] ?? 0) + byte) * 8 + 3)
  const flipAt = (name: string, index: number, byte: number): Damaged => ({ name, bytes: bit(index, byte), expected: at(index) })
  const unordered = sealed(numbered(swapped(list, last - 2)))
  const third = Buffer.concat(parts.slice(0, 3))

  return [
    made('empty-file', Buffer.alloc(0), cut(0)),
    made('truncated-preamble', whole.subarray(0, 9), cut(9)),
    made('truncated-frame-header', whole.subarray(0, (starts[2] ?? 0) + 5), cut((starts[2] ?? 0) + 5, 2)),
    made('truncated-frame', whole.subarray(0, (starts[2] ?? 0) + 40), cut((starts[2] ?? 0) + 40, 2)),
    made('truncated-between-frames', third, cut(third.byteLength, 2)),
    made('truncated-trailer', whole.subarray(0, -10), cut(whole.byteLength - 10, last)),
    made('missing-trailer', whole.subarray(0, starts[last]), cut(starts[last] ?? 0, last)),
    made('trailing-byte', Buffer.concat([whole, Buffer.from([0])]), cut(whole.byteLength)),
    made('second-stream-appended', Buffer.concat([whole, other]), cut(whole.byteLength)),

    made('flipped-bit-in-magic', flipped(whole, 1), cut(0)),
    made('flipped-bit-in-version', flipped(whole, 8 * 8 + 1), cut(0)),
    made('flipped-bit-in-preamble-crc', flipped(whole, 13 * 8), cut(0)),
    flipAt('flipped-bit-in-header-frame', 0, 30),
    flipAt('flipped-bit-in-frame', 2, 60),
    flipAt('flipped-bit-in-record-count', 2, 8),
    flipAt('flipped-bit-in-crc', 2, frame(2).stored.byteLength + 25),
    flipAt('flipped-bit-in-trailer', last, 50),

    made('dropped-frame', Buffer.concat(parts.toSpliced(2, 1)), at(1)),
    made('dropped-frame-renumbered', reordered(whole, [0, 2, 3, 4, 5]), at(1)),
    made('swapped-frames', Buffer.concat(swapped(parts, 2)), at(1)),
    made('swapped-frames-renumbered', reordered(whole, [0, 2, 1, 3, 4, 5]), at(1)),
    made('doubled-frame', Buffer.concat(parts.toSpliced(3, 0, parts[2] as Buffer)), at(2)),
    made('doubled-frame-renumbered', reordered(whole, [0, 1, 1, 2, 3, 4, 5]), at(2)),
    made('spliced-frame', Buffer.concat(parts.toSpliced(2, 1, otherParts[2] as Buffer)), at(1)),
    made('spliced-tail', Buffer.concat([...parts.slice(0, 3), ...otherParts.slice(3)]), at(2)),

    made('newer-version', Buffer.concat([preamble({ version: 2 }), whole.subarray(16)]), { code: 'schema_version_mismatch' }),
    made('unknown-flag', Buffer.concat([preamble({ flags: 4 }), whole.subarray(16)]), { code: 'schema_version_mismatch' }),
    made('version-zero', Buffer.concat([preamble({ version: 0 }), whole.subarray(16)]), cut(8)),
    made('oversized-length', resealed(2, { storedBytes: 0xffffffff, rawBytes: 0xffffffff }), at(2)),
    made('oversized-length-by-one', resealed(2, { storedBytes: 16_777_217, rawBytes: 16_777_217 }), at(2)),
    made('oversized-raw-length', resealed(2, { codec: 1, rawBytes: 67_108_865 }), at(2)),
    made('oversized-header', resealed(0, { storedBytes: 65_537, rawBytes: 65_537 }), at(0)),
    made('raw-length-differs', resealed(2, ({ rawBytes, ...frame }) => ({ ...frame, rawBytes: rawBytes + 1 })), at(2)),
    made('empty-frame', resealed(2, { stored: Buffer.alloc(0), rawBytes: 0 }), at(2)),
    made('frame-without-records', resealed(2, { records: 0 }), at(2)),
    made('unknown-frame-type', resealed(2, { type: 4 }), at(2)),
    made('unknown-codec', resealed(2, { codec: 2 }), at(2)),
    made('compressed-trailer', resealed(last, { codec: 1 }), at(last)),
    made('wrong-sequence', resealed(2, { sequence: 3n }), at(2)),
    made('huge-sequence', resealed(2, { sequence: 2n ** 53n + 2n }), at(2)),
    made('unknown-section', resealed(last - 1, { section: 3 }), at(last - 1)),
    made('sections-out-of-order', unordered, cut(frameStarts(unordered)[last - 1] ?? 0, last - 1)),
    made('header-names-records', resealed(0, { records: 1 }), at(0)),
    made('trailer-names-section', resealed(last, { section: 1 }), at(last)),

    made('missing-header', sealed(numbered(list.slice(1))), at(0)),
    made('second-header', sealed(numbered(list.toSpliced(1, 0, frame(0)))), at(1)),
    made('header-no-cbor', resealed(0, (frame) => withContent(frame, Buffer.from([0xff, 0x00]))), at(0)),
    made('header-field-missing', header((fields) => without(fields, 'storeId')), at(0)),
    made('header-field-of-wrong-type', header((fields) => ({ ...fields, storeId: 7 })), at(0)),
    made('header-of-another-format', header((fields) => ({ ...fields, format: 'holdfast-other' })), at(0)),
    made('header-section-name-with-dots', header((fields) => ({ ...fields, sections: ['../x', 'second', 'third'] })), at(0)),
    made('header-section-twice', header((fields) => ({ ...fields, sections: ['first', 'first', 'third'] })), at(0)),
    made('header-without-sections', header((fields) => ({ ...fields, sections: [] })), at(0)),
    made('header-of-257-sections', header((fields) => ({ ...fields, sections: Array.from({ length: 257 }, (_, index) => `s${index}`) })), at(0)),

    made('frame-count-wrong', trailer({ frames: BigInt(last) }), at(last)),
    made('record-count-wrong', trailer({ records: [1n, 2n, 3n] }), at(last)),
    made('record-count-of-section-missing', trailer({ records: (contentOf(frame(last))['records'] as unknown[]).slice(1) }), at(last)),
    made('payload-id-digest-too-short', trailer({ payloadIdDigest: Buffer.alloc(31) }), at(last)),
    made('sha256-wrong', trailer({ sha256: Buffer.alloc(32, 1) }), at(last)),
    made('trailer-field-missing', resealed(last, (frame) => withContent(frame, without(contentOf(frame), 'frames')), true), at(last)),

    made('fewer-records-than-counted', records(columns([1], 'k', [1], 'v'), 2), at(1)),
    made('more-records-than-counted', records(columns([1, 1], 'kl', [1, 1], 'vw'), 1), at(1)),
    made('more-values-than-keys', records(columns([1], 'k', [1, 1], 'vw'), 1), at(1)),
    made('column-of-three', records(columns([1], 'k', [1], 'v').slice(0, 3), 1), at(1)),
    made('column-of-five', records([...columns([1], 'k', [1], 'v'), 'w'], 1), at(1)),
    made('records-no-array', records({ k: 'v' }, 1), at(1)),
    made('column-of-number', records([lengths([1]), 'k', lengths([1]), 1], 1), at(1)),
    made('column-of-null', records([lengths([1]), 'k', lengths([1]), null], 1), at(1)),
    made('column-nested', records([lengths([1]), 'k', lengths([1]), ['v']], 1), at(1)),
    made('column-tagged', records(Buffer.from('84 44 01000000 61 6b 44 01000000 c1 61 76'.replaceAll(' ', ''), 'hex'), 1), at(1)),
    made('columns-of-indefinite-length', records(Buffer.from('9f 44 01000000 61 6b 44 01000000 61 76 ff'.replaceAll(' ', ''), 'hex'), 1), at(1)),
    made('column-text-of-indefinite-length', records(Buffer.from('84 44 01000000 61 6b 44 01000000 7f 61 76 ff'.replaceAll(' ', ''), 'hex'), 1), at(1)),
    made('column-text-not-utf8', records(Buffer.from('84 44 01000000 61 6b 44 01000000 61 ff'.replaceAll(' ', ''), 'hex'), 1), at(1)),
    made('column-cuts-character', records(columns([1, 1], 'é', [0, 1], 'v'), 2), at(1)),
    made('column-shorter-than-lengths', records(columns([1], 'k', [2], 'v'), 1), at(1)),
    made('column-longer-than-lengths', records(columns([1], 'k', [0], 'v'), 1), at(1)),
    made('lengths-as-text', records([ 'aaaa', 'k', lengths([1]), 'v'], 1), at(1)),
    made('lengths-cut-short', records([lengths([1]).subarray(0, 3), 'k', lengths([1]), 'v'], 1), at(1)),
    made('length-claimed', records(columns([0xffffffff], 'k', [1], 'v'), 1), at(1)),
    made('columns-array-length-claimed', records(Buffer.from('9a ffffffff 44 01000000 61 6b 44 01000000 61 76'.replaceAll(' ', ''), 'hex'), 0xffffffff), at(1)),
    made('column-text-length-claimed', records(Buffer.from('84 44 01000000 61 6b 44 01000000 7b 00ffffffffffffff 76'.replaceAll(' ', ''), 'hex'), 1), at(1)),
    made('records-cut-short', records(encode(columns([1], 'k', [1], 'v')).subarray(0, -1), 1), at(1)),
    made('records-bytes-left-over', records(Buffer.concat([encode(columns([1], 'k', [1], 'v')), Buffer.from([0x60])]), 1), at(1)),
    made('records-deeply-nested', records(Buffer.alloc(60_000, 0x81), 1), at(1)),
  ]
}

/** The content of a data frame, of any lengths. */
function columns(keyLengths: readonly number[], keys: string, valueLengths: readonly number[], values: string): unknown[] {
  return [lengths(keyLengths), keys, lengths(valueLengths), values]
}

function lengths(list: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * list.length)
  list.forEach((length, index) => bytes.writeUInt32LE(length, 4 * index))
  return bytes
}

/** Frames in another order, with sequence numbers put right but CRCs as they were: what only a chained CRC finds. */
function reordered(stream: Buffer, order: readonly number[]): Buffer {
  const [head, ...list] = pieces(stream)
  const moved = order.map((from, to) => {
    const piece = Buffer.from(list[from] ?? '')
    piece.writeBigUInt64LE(BigInt(to), 16)
    return piece
  })
  return Buffer.concat([head ?? Buffer.alloc(0), ...moved])
}

function swapped<T>(items: readonly T[], left: number): T[] {
  return items.toSpliced(left, 2, items[left + 1] as T, items[left] as T)
}

function cut(offset: number, frame?: number): Expected {
  return { code: 'restore_corrupt', offset, frame }
}

function made(name: string, bytes: Buffer, expected: Expected): Damaged {
  return { name, bytes, expected }
}

function without(fields: Record<string, unknown>, name: string): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([key]) => key !== name))
}
