/** Reads the `payload-ids` object block by block, in chunks of any size. */
import { RestoreCorruptError } from '../errors/errors.ts'
import { BLOCK_HEADER_BYTES, BLOCK_IDS, PAYLOAD_IDS_PREAMBLE, sharedPrefix } from './block-encoder.ts'
import { keyAt } from './id-key.ts'
import { type IdList, MAX_ID_LENGTH, copyId, isPayloadId, widthOf } from './id-list.ts'

/** The most bytes of a block: IDs of the greatest length, each with the two bytes before it. */
const MAX_CONTENT_BYTES = BLOCK_IDS * (MAX_ID_LENGTH + 2)
const MAX_WIDTH = 127

interface BlockHeader {
  readonly contentBytes: number
  readonly count: number
  readonly width: number
  readonly shared: number
}

/**
 * Decodes blocks, from the preamble on.
 *
 * Throws `restore_corrupt` with the byte offset of the block for another preamble, a block that is cut short or not in its only form,
 * a malformed ID, or one that is not greater than its predecessor. The caller checks count and digest.
 */
export class BlockDecoder {
  readonly #pending: Buffer[] = []
  #pendingBytes = 0
  #offset = 0
  #preambleDone = false
  /** The last ID, packed as in its block. */
  #last: Buffer = Buffer.alloc(0)
  #before: BlockHeader | undefined
  /** The header of the block whose content is not complete. */
  #header: BlockHeader | undefined

  /** Decodes the blocks that this chunk completes. Their bytes are views of the chunk, or copies. */
  *decode(chunk: Uint8Array): Generator<IdList, void, undefined> {
    this.#pending.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))
    this.#pendingBytes += chunk.byteLength
    if (!this.#preambleDone) {
      if (this.#pendingBytes < PAYLOAD_IDS_PREAMBLE.byteLength) return
      const preamble = this.#take(PAYLOAD_IDS_PREAMBLE.byteLength)
      if (!preamble.equals(PAYLOAD_IDS_PREAMBLE)) throw this.#fault('the list does not begin like one of payload IDs')
      this.#offset += preamble.byteLength
      this.#preambleDone = true
    }
    for (;;) {
      if (this.#header === undefined && this.#pendingBytes >= BLOCK_HEADER_BYTES) this.#header = this.#checkedHeader(this.#take(BLOCK_HEADER_BYTES))
      const header = this.#header
      if (header === undefined || this.#pendingBytes < header.contentBytes) return
      const content = this.#take(header.contentBytes)
      yield header.width > 0 ? this.#packed(header, content) : this.#texts(header, content)
      this.#offset += BLOCK_HEADER_BYTES + header.contentBytes
      this.#before = header
      this.#header = undefined
    }
  }

  /** Ends the input. Throws when it ends within a block. */
  end(): void {
    if (!this.#preambleDone || this.#header !== undefined || this.#pendingBytes > 0) throw this.#fault('the list ends too early')
  }

  #checkedHeader(bytes: Buffer): BlockHeader {
    const header = { contentBytes: bytes.readUInt32LE(0), count: bytes.readUInt16LE(4), width: bytes.readUInt8(6), shared: bytes.readUInt8(7) }
    const { contentBytes, count, width, shared } = header
    if (count === 0 || count > BLOCK_IDS || width > MAX_WIDTH || shared > width) throw this.#fault('the header of a block is malformed')
    const isInForm = width > 0 ? contentBytes === shared + count * (width - shared) : contentBytes <= MAX_CONTENT_BYTES
    if (!isInForm) throw this.#fault('the length of a block does not fit its content')
    if (this.#before?.width === width && this.#before.count < BLOCK_IDS) throw this.#fault('a block is smaller than it could be')
    return header
  }

  #packed({ count, width, shared }: BlockHeader, content: Buffer): IdList {
    const bytes = shared === 0 ? content : expanded(content, count, width, shared)
    if (!isAscending(bytes, width, shared)) throw this.#disorder()
    const [first, last] = [bytes.subarray(0, width), bytes.subarray(bytes.byteLength - width)]
    if (sharedPrefix(first, last) !== shared) throw this.#fault('the shared prefix of a block is too long or too short')
    this.#follow(first, last, width)
    return { width, count, bytes }
  }

  #texts({ count }: BlockHeader, content: Buffer): IdList {
    const payloadIds: string[] = []
    let last = ''
    let at = 0
    for (let index = 0; index < count; index++) {
      const [shared = 0, length = 0] = [content[at], content[at + 1]]
      at += 2 + length
      if (at > content.byteLength || shared > last.length) throw this.#fault('an entry is cut short')
      const payloadId = last.slice(0, shared) + content.toString('latin1', at - length, at)
      if (!isPayloadId(payloadId) || widthOf(payloadId) > 0) throw this.#fault('an entry is not a payload ID, or should be packed')
      if (payloadId <= last) throw this.#disorder()
      if (last.charCodeAt(shared) === payloadId.charCodeAt(shared)) throw this.#fault('the shared prefix of an entry is too short')
      payloadIds.push(payloadId)
      last = payloadId
    }
    if (at !== content.byteLength) throw this.#fault('a block is longer than its entries')
    this.#follow(Buffer.from(payloadIds[0] ?? '', 'latin1'), Buffer.from(last, 'latin1'), 0)
    return { width: 0, count, bytes: Buffer.from(`${payloadIds.join('\n')}\n`, 'latin1') }
  }

  /** Checks that a block comes after the block before. */
  #follow(first: Buffer, last: Buffer, width: number): void {
    const before = this.#before
    if (before !== undefined) {
      const isSame = before.width === width
      const [left, right] = isSame ? [this.#last, first] : [asText(this.#last, before.width), asText(first, width)]
      if (left.compare(right) >= 0) throw this.#disorder()
    }
    this.#last = Buffer.from(last)
  }

  /** Takes the next bytes; as many must be pending. */
  #take(bytes: number): Buffer {
    let first = this.#pending[0] ?? Buffer.alloc(0)
    if (first.byteLength < bytes) {
      first = Buffer.concat(this.#pending)
      this.#pending.length = 0
    }
    this.#pending[0] = first.subarray(bytes)
    this.#pendingBytes -= bytes
    return first.subarray(0, bytes)
  }

  #disorder(): RestoreCorruptError {
    return this.#fault('the payload IDs are not in ascending order')
  }

  #fault(what: string): RestoreCorruptError {
    return new RestoreCorruptError(`Cannot read the payload IDs at byte ${this.#offset}: ${what}`, { offset: this.#offset })
  }
}

function expanded(content: Buffer, count: number, width: number, shared: number): Buffer {
  const bytes = Buffer.allocUnsafe(count * width)
  for (let index = 0, from = shared; index < count; index++, from += width - shared) {
    copyId(content, from, bytes, copyId(content, 0, bytes, index * width, shared), width - shared)
  }
  return bytes
}

/** Whether each ID is greater than its predecessor. All have the same first `shared` bytes. */
function isAscending(bytes: Buffer, width: number, shared: number): boolean {
  let last = -1
  for (let at = 0; at < bytes.length; at += width) {
    const key = keyAt(bytes, at + shared, width - shared)
    if (key < last || (key === last && bytes.compare(bytes, at - width, at, at, at + width) <= 0)) return false
    last = key
  }
  return true
}

function asText(id: Buffer, width: number): Buffer {
  return width === 0 ? id : Buffer.from(id.toString('hex'), 'latin1')
}
