/**
 * Reads the part of CBOR (RFC 8949) that snapshots use: integers, byte and text strings, arrays and maps of definite length.
 *
 * A general decoder would allocate what a damaged or forged frame claims; this one allocates only for bytes that are there.
 * Throws a `TypeError` that says what is wrong.
 */
import { isUtf8 } from 'node:buffer'

export type Value = string | Uint8Array

const UNSIGNED = 0
const BYTES = 2
const TEXT = 3
const ARRAY = 4
const MAP = 5
const MAX_DEPTH = 8

export class CborReader {
  readonly #bytes: Buffer
  #position = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** Reads an integer from 0 to 2^53 - 1. */
  count(): number {
    return this.#head(UNSIGNED, 'a number')
  }

  /** Reads the head of an array: the number of items that follow. */
  array(): number {
    return this.#head(ARRAY, 'an array')
  }

  /** Reads the head of a map: the number of pairs that follow. */
  map(): number {
    return this.#head(MAP, 'a map')
  }

  text(): string {
    const { isText, bytes } = this.string()
    if (!isText) throw new TypeError('text is expected')
    if (!isUtf8(bytes)) throw new TypeError('a text is not valid UTF-8')
    return bytes.toString()
  }

  /** Reads bytes, as a view. */
  bytes(): Buffer {
    const { isText, bytes } = this.string()
    if (isText) throw new TypeError('bytes are expected')
    return bytes
  }

  /** Reads text or bytes, as a view. Does not check that text is valid UTF-8. */
  string(): { readonly isText: boolean; readonly bytes: Buffer } {
    const major = this.#major()
    if (major !== TEXT && major !== BYTES) throw new TypeError('text or bytes are expected')
    const length = this.#argument()
    const start = this.#position
    const end = start + length
    if (end > this.#bytes.byteLength) throw new TypeError('a string is longer than the bytes left')
    this.#position = end
    return { isText: major === TEXT, bytes: this.#bytes.subarray(start, end) }
  }

  /** Skips one item of any of these types. */
  skip(depth: number = MAX_DEPTH): void {
    if (depth === 0) throw new TypeError('items are nested too deep')
    const major = this.#major()
    if (major === TEXT || major === BYTES) {
      const { isText, bytes } = this.string()
      if (isText && !isUtf8(bytes)) throw new TypeError('a text is not valid UTF-8')
      return
    }
    if (major !== UNSIGNED && major !== ARRAY && major !== MAP) throw new TypeError(`major type ${major} is not allowed`)
    const items = this.#argument() * (major === MAP ? 2 : 1)
    if (major !== UNSIGNED) for (let item = 0; item < items; item++) this.skip(depth - 1)
  }

  /** Throws when bytes are left. */
  end(): void {
    if (this.#position !== this.#bytes.byteLength) throw new TypeError('bytes are left over')
  }

  #major(): number {
    const initial = this.#bytes[this.#position]
    if (initial === undefined) throw new TypeError('the content ends too early')
    return initial >> 5
  }

  #head(major: number, name: string): number {
    if (this.#major() !== major) throw new TypeError(`${name} is expected`)
    return this.#argument()
  }

  #argument(): number {
    const additional = (this.#bytes[this.#position] ?? 0) & 31
    const start = this.#position + 1
    if (additional < 24) {
      this.#position = start
      return additional
    }
    const size = additional > 27 ? 0 : 1 << (additional - 24)
    if (size === 0 || start + size > this.#bytes.byteLength) throw new TypeError('a length is malformed')
    this.#position = start + size
    const argument = size === 8 ? Number(this.#bytes.readBigUInt64BE(start)) : this.#bytes.readUIntBE(start, size)
    if (!Number.isSafeInteger(argument)) throw new TypeError('a number is beyond 2^53')
    return argument
  }
}
