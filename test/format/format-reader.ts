/** A reader of all three objects of a backup, written from FORMAT.md alone: it shares no code with the sources. */
import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import zlib, { crc32 } from 'node:zlib'
import { decompress } from '@cloudpss/zstd/wasm'

export type Item = number | string | Buffer | readonly Item[] | ReadonlyMap<string, Item>

export interface FormatStream {
  readonly header: ReadonlyMap<string, Item>
  readonly trailer: ReadonlyMap<string, Item>
  /** Section name, key, value. */
  readonly records: readonly (readonly [section: string, key: Item, value: Item])[]
}

const demand: (condition: boolean, what: string) => asserts condition = (condition, what) => {
  if (!condition) throw new Error(what)
}

/** Reads a stream of key-value records. */
export function readStream(bytes: Buffer): FormatStream {
  demand(bytes.subarray(0, 8).toString('hex') === '894846530d0a1a0a', 'magic')
  demand(bytes.readUInt32LE(12) === crc32(bytes.subarray(0, 12)), 'preamble CRC')
  demand(bytes.readUInt16LE(8) === 1 && bytes.readUInt16LE(10) === 0, 'version and flags')
  const covered = [bytes.subarray(0, 12)]
  const records: [string, Item, Item][] = []
  const counts: number[] = []
  let header: ReadonlyMap<string, Item> | undefined
  let lastSection = 0
  let at = 16
  for (let sequence = 0; ; sequence++) {
    const start = at
    demand(start + 28 <= bytes.byteLength, 'frame cut short')
    const [stored, type, codec] = [bytes.readUInt32LE(at), bytes.readUInt8(at + 4), bytes.readUInt8(at + 5)]
    const [section, count, raw] = [bytes.readUInt16LE(at + 6), bytes.readUInt32LE(at + 8), bytes.readUInt32LE(at + 12)]
    demand(bytes.readBigUInt64LE(at + 16) === BigInt(sequence), 'sequence')
    demand((type === 2 && codec <= 1) || ((type === 1 || type === 3) && codec === 0), 'type and codec')
    demand(stored >= 1 && raw >= 1 && (codec === 1 || stored === raw), 'lengths')
    demand(type === 2 ? stored <= 16_777_216 && raw <= 67_108_864 : stored <= 65_536, 'limits')
    demand(start + 28 + stored <= bytes.byteLength, 'frame cut short')
    const content = bytes.subarray(at + 24, at + 24 + stored)
    // The definition as it stands: one CRC over everything but CRC fields.
    covered.push(bytes.subarray(at, at + 24 + stored))
    demand(bytes.readUInt32LE(at + 24 + stored) === crc32(Buffer.concat(covered)), 'CRC')
    at += 28 + stored
    if (type === 1) {
      demand(sequence === 0 && section === 0 && count === 0, 'header')
      header = item(content) as ReadonlyMap<string, Item>
      demand(header.get('format') === 'holdfast-snapshot', 'format')
      continue
    }
    demand(header !== undefined, 'no header')
    const sections = header.get('sections') as readonly string[]
    if (type === 3) {
      const trailer = item(content) as ReadonlyMap<string, Item>
      demand(trailer.get('frames') === sequence + 1, 'frames')
      demand(isDeepStrictEqual(trailer.get('records'), sections.map((_, index) => counts[index] ?? 0)), 'records')
      demand((trailer.get('sha256') as Buffer).equals(sha256(bytes.subarray(0, start))), 'sha256')
      demand(at === bytes.byteLength, 'bytes after the trailer')
      return { header, trailer, records }
    }
    const name = sections[section]
    demand(name !== undefined && section >= lastSection && count >= 1, 'section')
    lastSection = section
    counts[section] = (counts[section] ?? 0) + count
    const rawBytes = codec === 0 ? content : zstd(content)
    demand(rawBytes.byteLength === raw, 'raw length')
    const columns = item(rawBytes) as readonly Item[]
    demand(columns.length === 4, 'columns')
    const [keys, values] = [partsOf(columns[0], columns[1], count), partsOf(columns[2], columns[3], count)]
    keys.forEach((key, index) => records.push([name, key, values[index] ?? '']))
  }
}

/** The parts of a column, by their lengths in bytes. */
function partsOf(lengths: Item | undefined, content: Item | undefined, count: number): (string | Buffer)[] {
  demand(Buffer.isBuffer(lengths) && lengths.byteLength === 4 * count, 'record count')
  demand(typeof content === 'string' || Buffer.isBuffer(content), 'column')
  const bytes = Buffer.from(content)
  let at = 0
  const parts = Array.from({ length: count }, (_, index) => {
    const part = bytes.subarray(at, (at += lengths.readUInt32LE(4 * index)))
    return typeof content === 'string' ? new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(part) : part
  })
  demand(at === bytes.byteLength, 'column length')
  return parts
}

/** Reads a `payload-ids` object. */
export function readPayloadIds(bytes: Buffer): string[] {
  demand(bytes.subarray(0, 8).toString('hex') === '894846490d0a0100', 'preamble')
  const ids: string[] = []
  let at = 8
  const take = (length: number): Buffer => {
    demand(at + length <= bytes.byteLength, 'cut short')
    return bytes.subarray(at, (at += length))
  }
  while (at < bytes.byteLength) {
    const [length, count, width, shared] = [take(4).readUInt32LE(), take(2).readUInt16LE(), take(1).readUInt8(), take(1).readUInt8()]
    const end = at + length
    const prefix = take(shared).toString('hex')
    let before = ''
    for (let index = 0; index < count; index++) {
      const [same, rest] = width === 0 ? [take(1).readUInt8(), take(1).readUInt8()] : [0, width - shared]
      const id = width === 0 ? before.slice(0, same) + take(rest).toString('latin1') : prefix + take(rest).toString('hex')
      demand(id > (ids.at(-1) ?? ''), 'order')
      ids.push(id)
      before = id
    }
    demand(at === end, 'block length')
  }
  return ids
}

function item(bytes: Buffer): Item {
  let at = 0
  const next = (): Item => {
    const initial = bytes.readUInt8(at++)
    const [major, extra] = [initial >> 5, initial & 31]
    let argument = extra
    if (extra >= 24) {
      demand(extra <= 27, 'indefinite length')
      const size = 1 << (extra - 24)
      argument = Number(BigInt(`0x${bytes.toString('hex', at, at + size)}`))
      at += size
    }
    demand(Number.isSafeInteger(argument), 'number')
    switch (major) {
      case 0:
        return argument
      case 2:
      case 3: {
        const found = bytes.subarray(at, (at += argument))
        demand(found.byteLength === argument, 'string cut short')
        return major === 2 ? found : new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(found)
      }
      case 4: {
        const items: Item[] = []
        for (let index = 0; index < argument; index++) items.push(next())
        return items
      }
      case 5: {
        const map = new Map<string, Item>()
        for (let index = 0; index < argument; index++) map.set(next() as string, next())
        return map
      }
      default:
        throw new Error(`major type ${major}`)
    }
  }
  const found = next()
  demand(at === bytes.byteLength, 'bytes left over')
  return found
}

const { zstdDecompressSync = decompress } = zlib as unknown as { readonly zstdDecompressSync?: (bytes: Buffer) => Uint8Array }

function zstd(bytes: Buffer): Buffer {
  return Buffer.from(zstdDecompressSync(bytes))
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}
