/** The `payload-ids` object: payload IDs in ascending order, front-coded. */
import { InvalidArgumentError, RestoreCorruptError } from '../errors.ts'

/** `89 "HFI" 0D 0A`, then the version, 1, in two bytes. */
export const PAYLOAD_IDS_PREAMBLE: Buffer = Buffer.from([0x89, 0x48, 0x46, 0x49, 0x0d, 0x0a, 0x01, 0x00])
/** Every so many entries one shares nothing with the entry before, so that reading can begin there. */
export const RESTART_ENTRIES = 1024
const MAX_ID_LENGTH = 255
/** shared 1 | length and form, at most 2 | suffix */
const MAX_ENTRY_BYTES: number = 1 + 2 + MAX_ID_LENGTH
const ID = /^[\x21-\x7e]{1,255}$/
const CHUNK_BYTES: number = 64 * 1024

/** Returns the payload ID; throws `invalid_argument` when it is none: 1 to 255 characters of printable ASCII, no space. */
export function checkPayloadId(text: string): string {
  if (!ID.test(text)) {
    throw new InvalidArgumentError(`Cannot use ${JSON.stringify(text.slice(0, 64))} as a payload ID: it must be 1 to 255 characters of printable ASCII`)
  }
  return text
}

/** Where an entry that shares nothing is: its position in the encoded bytes, and its ID. */
export interface RestartPoint {
  readonly position: number
  readonly payloadId: string
}

/** Encodes IDs given in strictly ascending order; `take` hands over what is done. */
export class PayloadIdEncoder {
  /** How many IDs were added. */
  count = 0
  readonly restarts: RestartPoint[] = []
  #chunk: Buffer = Buffer.allocUnsafe(CHUNK_BYTES)
  #used = 0
  #position = 0
  #last = ''

  add(payloadId: string): void {
    if (this.#used + MAX_ENTRY_BYTES > this.#chunk.byteLength) this.#grow()
    const isRestart = this.count % RESTART_ENTRIES === 0
    if (isRestart) this.restarts.push({ position: this.#position + this.#used, payloadId })
    // Even, so that what is left of a hex ID is whole bytes.
    const shared = isRestart ? 0 : commonLength(this.#last, payloadId) & ~1
    const length = payloadId.length - shared
    const chunk = this.#chunk
    let at = this.#used
    chunk[at++] = shared
    const packed = packHex(payloadId, shared, chunk, at + 1)
    const head = packed ? length | 1 : length << 1
    if (packed) {
      // `length` is even: half of it in bytes, shifted by one for the form, is the length itself.
      if (head < 128) {
        chunk[at] = head
        at += 1 + length / 2
      } else {
        chunk.copyWithin(at + 2, at + 1, at + 1 + length / 2)
        chunk[at] = (head & 127) | 128
        chunk[at + 1] = head >> 7
        at += 2 + length / 2
      }
    } else {
      if (head < 128) chunk[at++] = head
      else {
        chunk[at++] = (head & 127) | 128
        chunk[at++] = head >> 7
      }
      at += chunk.write(payloadId.slice(shared), at, 'latin1')
    }
    this.#used = at
    this.#last = payloadId
    this.count++
  }

  /** The bytes encoded since the last call. */
  take(): Buffer {
    const bytes = this.#chunk.subarray(0, this.#used)
    this.#position += this.#used
    this.#chunk = Buffer.allocUnsafe(CHUNK_BYTES)
    this.#used = 0
    return bytes
  }

  #grow(): void {
    const larger = Buffer.allocUnsafe(this.#chunk.byteLength * 2)
    this.#chunk.copy(larger, 0, 0, this.#used)
    this.#chunk = larger
  }
}

/**
 * Decodes a `payload-ids` object, in batches as they come. Throws `restore_corrupt` with the byte offset for what is no such object: the
 * wrong preamble, an entry cut short, an ID that is none, or one that is not greater than the one before.
 */
export async function* decodePayloadIdBatches(source: AsyncIterable<Uint8Array>): AsyncGenerator<readonly string[], void, undefined> {
  const decoder = new PayloadIdDecoder()
  for await (const chunk of source) {
    const batch = decoder.decode(chunk)
    if (batch.length > 0) yield batch
  }
  decoder.end()
}

/** Decodes entries from any chunking. Begins at the preamble, or at a restart when `headless`. */
export class PayloadIdDecoder {
  #rest: Buffer = Buffer.alloc(0)
  #offset = 0
  #last = ''
  #preambleDone: boolean

  constructor({ headless = false }: { readonly headless?: boolean } = {}) {
    this.#preambleDone = headless
  }

  /** The IDs that are complete with this chunk. */
  decode(chunk: Uint8Array): string[] {
    const bytes = this.#rest.byteLength === 0 ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength) : Buffer.concat([this.#rest, chunk])
    let position = 0
    if (!this.#preambleDone) {
      if (bytes.byteLength < PAYLOAD_IDS_PREAMBLE.byteLength) {
        this.#rest = bytes
        return []
      }
      position = PAYLOAD_IDS_PREAMBLE.byteLength
      if (!bytes.subarray(0, position).equals(PAYLOAD_IDS_PREAMBLE)) throw this.#fault(0, 'it does not begin as a list of payload IDs does')
      this.#preambleDone = true
    }
    const payloadIds: string[] = []
    for (;;) {
      const end = this.#entryEnd(bytes, position)
      if (end === undefined) break
      payloadIds.push(this.#entry(bytes, position, end))
      position = end
    }
    this.#rest = bytes.subarray(position)
    this.#offset += position
    return payloadIds
  }

  /** Throws when the bytes end within an entry. */
  end(): void {
    if (!this.#preambleDone || this.#rest.byteLength > 0) throw this.#fault(this.#rest.byteLength, 'it ends too early')
  }

  /** Where the entry ends; `undefined` when it is not all there. */
  #entryEnd(bytes: Buffer, start: number): number | undefined {
    const head = bytes[start + 1]
    if (head === undefined) return undefined
    if (head < 128) return within(bytes, start + 2 + (head >> 1))
    const high = bytes[start + 2]
    if (high === undefined) return undefined
    return within(bytes, start + 3 + (((head & 127) | (high << 7)) >> 1))
  }

  #entry(bytes: Buffer, start: number, end: number): string {
    const shared = bytes[start] ?? 0
    const head = bytes[start + 1] ?? 0
    const suffix = bytes.toString((head & 1) === 1 ? 'hex' : 'latin1', start + (head < 128 ? 2 : 3), end)
    const payloadId = shared === 0 ? suffix : this.#last.slice(0, shared) + suffix
    if (shared > this.#last.length || !ID.test(payloadId)) throw this.#fault(start, 'an entry is no payload ID')
    if (payloadId <= this.#last) throw this.#fault(start, 'the payload IDs are not in ascending order')
    this.#last = payloadId
    return payloadId
  }

  #fault(position: number, what: string): RestoreCorruptError {
    const offset = this.#offset + position
    return new RestoreCorruptError(`Cannot read the payload IDs at byte ${offset}: ${what}`, { offset })
  }
}

function within(bytes: Buffer, end: number): number | undefined {
  return end <= bytes.byteLength ? end : undefined
}

function commonLength(left: string, right: string): number {
  const most = Math.min(left.length, right.length)
  let length = 0
  while (length < most && left.charCodeAt(length) === right.charCodeAt(length)) length++
  return length
}

/** Writes the hex digits from `start` on two to a byte; false when they are not lower-case hex of even length. */
function packHex(text: string, start: number, target: Buffer, at: number): boolean {
  if ((text.length - start) & 1) return false
  for (let index = start; index < text.length; index += 2) {
    const high = DIGITS[text.charCodeAt(index)] ?? NO_DIGIT
    const low = DIGITS[text.charCodeAt(index + 1)] ?? NO_DIGIT
    if (high === NO_DIGIT || low === NO_DIGIT) return false
    target[at++] = (high << 4) | low
  }
  return true
}

const NO_DIGIT = 255
/** The value of each lower-case hex digit, by its character code. */
const DIGITS: Uint8Array = Uint8Array.from({ length: 128 }, (_, code) => {
  const value = '0123456789abcdef'.indexOf(String.fromCharCode(code))
  return value === -1 ? NO_DIGIT : value
})
