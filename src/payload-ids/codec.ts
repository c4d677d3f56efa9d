/** The `payload-ids` object: payload IDs in ascending order, front-coded. Its bytes are described in `snapshot/FORMAT.md`. */
import { setImmediate } from 'node:timers/promises'
import { InvalidArgumentError, RestoreCorruptError } from '../errors.ts'

/** `89 "HFI" 0D 0A`, then the version, 1, in two bytes. */
export const PAYLOAD_IDS_PREAMBLE: Buffer = Buffer.from([0x89, 0x48, 0x46, 0x49, 0x0d, 0x0a, 0x01, 0x00])
/** Every so many entries one shares nothing with the entry before, so that reading can begin there. */
export const RESTART_ENTRIES = 1024
const LINE_FEED = 0x0a
const MAX_ID_LENGTH = 255
const ID = /^[\x21-\x7e]{1,255}$/
const PACKABLE = /^(?:[0-9a-f]{2})+$/
/** The most IDs of a batch. */
const BATCH_IDS = 8192
/** Some ten milliseconds of decoding. */
const TURN_IDS: number = 2 * BATCH_IDS

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

/** Encodes lines of IDs, all of them in strictly ascending order. Works on bytes: no string is made but for restarts. */
export class PayloadIdEncoder {
  /** How many IDs were encoded. */
  count = 0
  /** Bytes encoded so far. */
  bytes = 0
  readonly restarts: RestartPoint[] = []
  /** The last ID and its line feed. */
  last: Buffer = Buffer.from('\n')
  #scratch: Buffer = Buffer.alloc(0)

  /** The entries of some more IDs, each ended by a line feed. */
  encode(lines: Buffer): Buffer {
    // No entry is longer than twice its line.
    if (this.#scratch.byteLength < 2 * lines.byteLength) this.#scratch = Buffer.allocUnsafeSlow(2 * lines.byteLength)
    const target = this.#scratch
    let used = 0
    let previous = this.last
    let previousStart = 0
    for (let start = 0; start < lines.byteLength; ) {
      const isRestart = this.count % RESTART_ENTRIES === 0
      if (isRestart) this.restarts.push({ position: this.bytes + used, payloadId: lines.toString('latin1', start, lines.indexOf(LINE_FEED, start)) })
      // Even, so that what is left of a hex ID is whole bytes.
      const shared = isRestart ? 0 : commonLength(previous, previousStart, lines, start) & ~1
      target[used] = shared
      const end = packHex(lines, start + shared, target, used + 2)
      used = end === -1 ? writePlain(lines, start + shared, target, used + 1) : writePacked(end - start - shared, target, used + 1)
      previous = lines
      previousStart = start
      start = end === -1 ? lines.indexOf(LINE_FEED, start) + 1 : end + 1
      this.count++
    }
    if (lines.byteLength > 0) this.last = Buffer.from(lines.subarray(previousStart))
    this.bytes += used
    const encoded = Buffer.allocUnsafeSlow(used)
    target.copy(encoded, 0, 0, used)
    return encoded
  }
}

/**
 * Decodes a `payload-ids` object, in batches as they come, giving way to the event loop between them. Throws `restore_corrupt` with
 * the byte offset for what is no such object: the wrong preamble, an entry cut short or not in its one form, an ID that
 * is none, or one that is not greater than the one before. Whether they are all there is told by their count and digest.
 */
export async function* decodePayloadIdBatches(source: AsyncIterable<Uint8Array>): AsyncGenerator<readonly string[], void, undefined> {
  const decoder = new PayloadIdDecoder()
  let turnIds = 0
  for await (const chunk of source) {
    for (const batch of decoder.decode(chunk)) {
      yield batch
      turnIds += batch.length
      if (turnIds < TURN_IDS) continue
      turnIds = 0
      await setImmediate()
    }
  }
  decoder.end()
}

/** Decodes entries from any chunking. Begins at the preamble, or at a restart when `headless`. */
export class PayloadIdDecoder {
  #rest: Buffer = Buffer.alloc(0)
  #offset = 0
  #last = ''
  #count = 0
  #preambleDone: boolean

  constructor({ headless = false }: { readonly headless?: boolean } = {}) {
    this.#preambleDone = headless
  }

  /** The IDs that are complete with this chunk, some thousands at a time. */
  *decode(chunk: Uint8Array): Generator<readonly string[], void, undefined> {
    const bytes = this.#rest.byteLength === 0 ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength) : Buffer.concat([this.#rest, chunk])
    let position = this.#preambleDone ? 0 : this.#preambleEnd(bytes)
    for (let batch: string[] = []; ; batch = []) {
      while (batch.length < BATCH_IDS) {
        const end = this.#preambleDone ? this.#entryEnd(bytes, position) : undefined
        if (end === undefined) break
        batch.push(this.#entry(bytes, position, end))
        position = end
      }
      if (batch.length > 0) yield batch
      if (batch.length < BATCH_IDS) break
    }
    this.#rest = Buffer.from(bytes.subarray(position))
    this.#offset += position
  }

  /** Throws when the bytes end within an entry. */
  end(): void {
    if (!this.#preambleDone || this.#rest.byteLength > 0) throw this.#fault(this.#rest.byteLength, 'it ends too early')
  }

  #preambleEnd(bytes: Buffer): number {
    const found = bytes.subarray(0, PAYLOAD_IDS_PREAMBLE.byteLength)
    if (!found.equals(PAYLOAD_IDS_PREAMBLE.subarray(0, found.byteLength))) throw this.#fault(0, 'it does not begin as a list of payload IDs does')
    this.#preambleDone = found.byteLength === PAYLOAD_IDS_PREAMBLE.byteLength
    return this.#preambleDone ? found.byteLength : 0
  }

  /** Where the entry ends; `undefined` when it is not all there. */
  #entryEnd(bytes: Buffer, start: number): number | undefined {
    const head = bytes[start + 1]
    if (head === undefined) return undefined
    if (head < 128) return within(bytes, start + 2 + (head >> 1))
    const high = bytes[start + 2]
    if (high === undefined) return undefined
    if (high === 0 || high > 3) throw this.#fault(start, 'the length of an entry is not in its form')
    return within(bytes, start + 3 + (((head & 127) | (high << 7)) >> 1))
  }

  #entry(bytes: Buffer, start: number, end: number): string {
    const last = this.#last
    const shared = bytes[start] ?? 0
    const head = bytes[start + 1] ?? 0
    const isPacked = (head & 1) === 1
    const suffix = bytes.toString(isPacked ? 'hex' : 'latin1', start + (head < 128 ? 2 : 3), end)
    if (shared > last.length || (shared & 1) === 1) throw this.#fault(start, 'an entry shares what is not there')
    const payloadId = shared === 0 ? suffix : last.slice(0, shared) + suffix
    if (payloadId.length > MAX_ID_LENGTH || (!isPacked && !ID.test(payloadId))) throw this.#fault(start, 'an entry is no payload ID')
    if (payloadId <= last) throw this.#fault(start, 'the payload IDs are not in ascending order')
    if (!isPacked && PACKABLE.test(suffix)) throw this.#fault(start, 'an entry is not packed')
    const isRestart = this.#count % RESTART_ENTRIES === 0
    if (isRestart ? shared !== 0 : isSameAt(last, payloadId, shared)) throw this.#fault(start, 'an entry shares too much or too little')
    this.#last = payloadId
    this.#count++
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

/** Whether two characters more are the same. */
function isSameAt(left: string, right: string, at: number): boolean {
  return left.charCodeAt(at) === right.charCodeAt(at) && left.charCodeAt(at + 1) === right.charCodeAt(at + 1)
}

/** How many bytes two different lines have in common; a line feed is like no other byte of a line. */
function commonLength(left: Buffer, leftStart: number, right: Buffer, rightStart: number): number {
  let length = 0
  while (left[leftStart + length] === right[rightStart + length]) length++
  return length
}

/** Writes the hex digits up to the line feed two to a byte and returns its position; -1 when they are not lower-case hex of even length. */
function packHex(lines: Buffer, start: number, target: Buffer, at: number): number {
  let index = start
  for (; lines[index] !== LINE_FEED; index += 2) {
    const high = DIGITS[lines[index] ?? 0] ?? NO_DIGIT
    const low = DIGITS[lines[index + 1] ?? 0] ?? NO_DIGIT
    if (high === NO_DIGIT || low === NO_DIGIT) return -1
    target[at++] = (high << 4) | low
  }
  return index
}

/** Writes the head before packed bytes that are there already; returns where the entry ends. */
function writePacked(digits: number, target: Buffer, at: number): number {
  const bytes = digits / 2
  if (digits > 127) target.copyWithin(at + 2, at + 1, at + 1 + bytes)
  // `digits` is even: twice the bytes, and the form in the last bit.
  return writeHead(digits | 1, target, at) + bytes
}

/** Writes head and characters up to the line feed; returns where the entry ends. */
function writePlain(lines: Buffer, start: number, target: Buffer, at: number): number {
  const end = lines.indexOf(LINE_FEED, start)
  const after = writeHead((end - start) << 1, target, at)
  lines.copy(target, after, start, end)
  return after + end - start
}

function writeHead(head: number, target: Buffer, at: number): number {
  if (head < 128) {
    target[at] = head
    return at + 1
  }
  target[at] = (head & 127) | 128
  target[at + 1] = head >> 7
  return at + 2
}

const NO_DIGIT = 255
/** The value of each lower-case hex digit, by its character code. */
const DIGITS: Uint8Array = Uint8Array.from({ length: 256 }, (_, code) => {
  const value = '0123456789abcdef'.indexOf(String.fromCharCode(code))
  return value === -1 ? NO_DIGIT : value
})
