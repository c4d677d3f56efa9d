/** Writes the `payload-ids` object: blocks of payload IDs in ascending order. `format/FORMAT.md` describes its bytes. */
import { type IdList, copyId, idsOf, widthOf } from './id-list.ts'

/** `89 "HFI" 0D 0A`, then the version, 1, in two bytes. */
export const PAYLOAD_IDS_PREAMBLE: Buffer = Buffer.from([0x89, 0x48, 0x46, 0x49, 0x0d, 0x0a, 0x01, 0x00])
/** content length 4 | count 2 | width 1 | shared 1 */
export const BLOCK_HEADER_BYTES = 8
/** The most IDs of a block. */
export const BLOCK_IDS = 1024

/** Encodes IDs in strictly ascending order. Blocks are as large as possible, so that a set has only one encoding. */
export class BlockEncoder {
  count = 0
  /** The last ID added, as text. */
  last = ''
  readonly #emit: (bytes: Buffer) => void
  /** The block being filled: packed IDs, or texts. */
  #width = 0
  #filled = 0
  #packed: Buffer = Buffer.alloc(0)
  #texts: string[] = []

  constructor(emit: (bytes: Buffer) => void) {
    this.#emit = emit
    emit(PAYLOAD_IDS_PREAMBLE)
  }

  /** Adds IDs, each greater than its predecessor. */
  add(list: IdList): void {
    if (list.count === 0) return
    if (list.width > 0) this.#addPacked(list)
    else this.#addTexts(idsOf(list))
    this.count += list.count
  }

  /** Ends the last block. Nothing can be added after that. */
  end(): void {
    if (this.#filled > 0) this.#endBlock()
  }

  #addPacked({ width, count, bytes }: IdList): void {
    for (let taken = 0; taken < count; ) {
      this.#makeRoom(width)
      const ids = Math.min(count - taken, BLOCK_IDS - this.#filled)
      bytes.copy(this.#packed, this.#filled * width, taken * width, (taken + ids) * width)
      this.#filled += ids
      taken += ids
    }
    this.last = bytes.toString('hex', (count - 1) * width, count * width)
  }

  #addTexts(payloadIds: readonly string[]): void {
    for (const payloadId of payloadIds) {
      const width = widthOf(payloadId)
      this.#makeRoom(width)
      if (width === 0) this.#texts.push(payloadId)
      else this.#packed.write(payloadId, this.#filled * width, 'hex')
      this.#filled++
    }
    this.last = payloadIds.at(-1) ?? this.last
  }

  /** Ends the block when it is full or of another width. */
  #makeRoom(width: number): void {
    if (this.#filled > 0 && (this.#filled === BLOCK_IDS || this.#width !== width)) this.#endBlock()
    if (this.#width !== width) this.#packed = Buffer.allocUnsafeSlow(BLOCK_IDS * width)
    this.#width = width
  }

  #endBlock(): void {
    this.#emit(this.#width === 0 ? textBlock(this.#texts) : packedBlock(this.#packed.subarray(0, this.#filled * this.#width), this.#width))
    this.#filled = 0
    this.#texts = []
  }
}

/** A block of packed IDs: their common prefix once, then the rest of each. */
function packedBlock(ids: Buffer, width: number): Buffer {
  const count = ids.byteLength / width
  const shared = sharedPrefix(ids.subarray(0, width), ids.subarray(ids.byteLength - width))
  const block = newBlock(shared + count * (width - shared), { count, width, shared })
  let at = copyId(ids, 0, block, BLOCK_HEADER_BYTES, shared)
  if (shared === 0) ids.copy(block, at)
  else for (let from = shared; from < ids.byteLength; from += width) at = copyId(ids, from, block, at, width - shared)
  return block
}

/** A block of texts. An entry is the number of characters shared with the ID before, the number of the rest, and the rest. */
function textBlock(payloadIds: readonly string[]): Buffer {
  const entries: Buffer[] = []
  let last: Buffer = Buffer.alloc(0)
  for (const payloadId of payloadIds) {
    const id = Buffer.from(payloadId, 'latin1')
    const shared = sharedLength(last, id)
    entries.push(Buffer.from([shared, id.byteLength - shared]), id.subarray(shared))
    last = id
  }
  const content = Buffer.concat(entries)
  const block = newBlock(content.byteLength, { count: payloadIds.length, width: 0, shared: 0 })
  content.copy(block, BLOCK_HEADER_BYTES)
  return block
}

/**
 * The number of first bytes that all packed IDs of a block share; 0 if less than a quarter of their width.
 * As IDs ascend, that is what the first and the last share.
 */
export function sharedPrefix(first: Uint8Array, last: Uint8Array): number {
  const shared = sharedLength(first, last)
  return 4 * shared >= first.byteLength ? shared : 0
}

function newBlock(contentBytes: number, { count, width, shared }: { readonly count: number; readonly width: number; readonly shared: number }): Buffer {
  const block = Buffer.allocUnsafeSlow(BLOCK_HEADER_BYTES + contentBytes)
  block.writeUInt32LE(contentBytes, 0)
  block.writeUInt16LE(count, 4)
  block.writeUInt8(width, 6)
  block.writeUInt8(shared, 7)
  return block
}

/** The number of first bytes that are the same. */
function sharedLength(left: Uint8Array, right: Uint8Array): number {
  const most = Math.min(left.byteLength, right.byteLength)
  let length = 0
  while (length < most && left[length] === right[length]) length++
  return length
}
