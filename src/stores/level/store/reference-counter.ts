/** Checks that the index of references has exactly what inodes, block lists and uploads refer to. */
import { StoreInconsistentError } from '../../../errors/errors.ts'
import type { StoredRecord, TextColumns } from '../../../format/records.ts'
import { PairHash, PairList, PairSum } from '../engine/pair-hash.ts'
import type { CountedFrame, FrameCounter } from '../engine/payload-id-counter.ts'
import * as records from './records.ts'

const REFERENCE_LENGTH = 'references/'.length
const INODE_LENGTH = 'inodes/'.length
/** The length of what follows an owner in the key of a chunk. */
const CHUNK_LENGTH = '/00000000'.length
/** The beginnings of the content fields in an inode's record. Neither is the first field. */
const PAYLOAD_ID_FIELD = ',"payloadId":"'
const BLOCK_COUNT_FIELD = ',"blockCount":'
/** The kinds of owners in the keys of references. */
const [INODE, UPLOAD] = ['i'.charCodeAt(0), 'u'.charCodeAt(0)] as const
const QUOTE = 0x22
const BACKSLASH = 0x5c
const HINT = 'Nothing was published or swapped in. Do not delete its payloads. Restore an earlier backup, or export the trees and import them into a new store'

type TextRecord = readonly [key: string, value: string]

/**
 * Counts references on both sides. A reference is a payload ID and the inode or upload that refers to it.
 * Equal sums of hashes mean equal references, except for a chance of 1 in 2^64. The numbers of blocks are compared too.
 *
 * Valid records are ASCII: a character of a text is a byte of its column. The counter needs 8 bytes for each block of the largest file.
 *
 * Hashing the bytes of columns is three to four times as fast as hashing characters of texts, which would slow a backup of many small files
 * by more than 5 %. Two sets of payload IDs instead of sums would have to be sorted, and would miss the reference of a wrong inode.
 */
export class ReferenceCounter implements FrameCounter {
  readonly #indexed = new PairSum()
  readonly #recorded = new PairSum()
  readonly #hash = new PairHash()
  #payloadIds = 0
  #lastLow = 0
  #lastHigh = 0
  /** The references of the block list being read. */
  readonly #listed = new PairList()
  #list = ''
  #blocks = 0
  #countedBlocks = 0
  readonly #onChunk: ((key: string, blocks: number) => void) | undefined

  /** `onChunk` is told of each part of a block list, by its key, and how many blocks it has. */
  constructor(onChunk?: (key: string, blocks: number) => void) {
    this.#onChunk = onChunk
  }

  add({ name, records: frame, columns }: Omit<CountedFrame, 'lookup'>): void {
    if (name === 'references') this.#addReferences(frame, columns().keys)
    else if (name === 'inodes') this.#addInodes(frame, columns())
    else if (name === 'blocks') this.#addChunks(frame, columns(), { owner: INODE, ownerAt: 'blocks/'.length })
    else if (name === 'upload-blocks') this.#addChunks(frame, columns(), { owner: UPLOAD, ownerAt: 'upload-blocks/'.length })
    else if (name === 'uploads') this.#addUploads(frame)
  }

  count(): number {
    this.#listed.moveTo(this.#recorded)
    const [indexed, recorded] = [this.#indexed.count, this.#recorded.count]
    if (!this.#indexed.equals(this.#recorded)) {
      const owners = 'inodes, block lists and uploads'
      const what = indexed === recorded ? `the ${indexed} references of the index are not those of ${owners}` : `the index has ${indexed} references, ${owners} make ${recorded}`
      throw inconsistent(what, { expected: { references: recorded }, actual: { references: indexed } })
    }
    if (this.#blocks !== this.#countedBlocks) {
      const counts = { expected: { blocks: this.#countedBlocks }, actual: { blocks: this.#blocks } }
      throw inconsistent(`block lists have ${this.#blocks} blocks, inodes and uploads count ${this.#countedBlocks}`, counts)
    }
    return this.#payloadIds
  }

  /** Adds the index, which is in the order of payload IDs: an ID is counted where it differs from the one before. */
  #addReferences(frame: readonly StoredRecord[], keys: DataView): void {
    const hash = this.#hash
    let end = 0
    for (const [key] of frame as readonly TextRecord[]) {
      const from = end + REFERENCE_LENGTH
      const space = end + key.indexOf(' ')
      end += key.length
      this.#begin(keys, from, space)
      if (this.#payloadIds === 0 || hash.low !== this.#lastLow || hash.high !== this.#lastHigh) this.#payloadIds++
      this.#lastLow = hash.low
      this.#lastHigh = hash.high
      this.#endAs(keys.getUint8(space + 1), keys, space + 2, end)
      this.#indexed.add(hash)
    }
  }

  #addInodes(frame: readonly StoredRecord[], { keys, values }: TextColumns): void {
    const isEscaped = hasBackslash(values)
    let keyEnd = 0
    let valueEnd = 0
    for (const [key, value] of frame as readonly TextRecord[]) {
      const ownerFrom = keyEnd + INODE_LENGTH
      const from = valueEnd
      keyEnd += key.length
      valueEnd += value.length
      if (!(isEscaped && value.includes('\\') ? this.#beginEscapedInode(value) : this.#beginInode(values, from, value))) continue
      this.#endAs(INODE, keys, ownerFrom, keyEnd)
      this.#recorded.add(this.#hash)
    }
  }

  /**
   * Puts the payload of an inode, whose bytes begin at `from`, into the hash. Returns false when there is none, after counting its blocks.
   * Quotes within texts are escaped, so that a field's name with quotes and colon is always that field.
   */
  #beginInode(values: DataView, from: number, value: string): boolean {
    const idField = value.indexOf(PAYLOAD_ID_FIELD)
    if (idField === -1) {
      const countField = value.indexOf(BLOCK_COUNT_FIELD)
      if (countField !== -1) this.#countedBlocks += Number.parseInt(value.slice(countField + BLOCK_COUNT_FIELD.length), 10)
      return false
    }
    const idFrom = idField + PAYLOAD_ID_FIELD.length
    this.#begin(values, from + idFrom, from + value.indexOf('"', idFrom))
    return true
  }

  #beginEscapedInode(value: string): boolean {
    const { payloadId, blockCount } = records.decodeInode(value)
    this.#countedBlocks += blockCount
    if (payloadId !== undefined) this.#begin(bytesOf(payloadId), 0, payloadId.length)
    return payloadId !== undefined
  }

  /** Adds block lists. A list may refer to a payload several times, which is one reference. */
  #addChunks(frame: readonly StoredRecord[], { keys, values }: TextColumns, { owner, ownerAt }: { readonly owner: number; readonly ownerAt: number }): void {
    const isEscaped = hasBackslash(values)
    let keyEnd = 0
    let valueEnd = 0
    for (const [key, value] of frame as readonly TextRecord[]) {
      const ownerFrom = keyEnd + ownerAt
      keyEnd += key.length
      const from = valueEnd
      valueEnd += value.length
      const list = key.slice(0, -CHUNK_LENGTH)
      if (list !== this.#list) this.#listed.moveTo(this.#recorded)
      this.#list = list
      const before = this.#blocks
      const addBlock = (bytes: DataView, idFrom: number, idEnd: number): void => {
        this.#begin(bytes, idFrom, idEnd)
        this.#endAs(owner, keys, ownerFrom, keyEnd - CHUNK_LENGTH)
        this.#listed.add(this.#hash)
        this.#blocks++
      }
      if (isEscaped && value.includes('\\')) for (const { payloadId } of records.decodeBlocks(value)) addBlock(bytesOf(payloadId), 0, payloadId.length)
      else eachText(values, from, valueEnd, (idFrom, idEnd) => addBlock(values, idFrom, idEnd))
      this.#onChunk?.(key, this.#blocks - before)
    }
  }

  #addUploads(frame: readonly StoredRecord[]): void {
    for (const [, value] of frame as readonly TextRecord[]) this.#countedBlocks += records.decodeUpload(value).blockCount
  }

  #begin(bytes: DataView, from: number, end: number): void {
    this.#hash.begin(end - from)
    this.#hash.absorb(bytes, from, end)
  }

  #endAs(owner: number, keys: DataView, from: number, end: number): void {
    this.#hash.mark(owner)
    this.#hash.absorb(keys, from, end)
    this.#hash.end()
  }
}

function hasBackslash({ buffer, byteOffset, byteLength }: DataView): boolean {
  return Buffer.from(buffer, byteOffset, byteLength).includes(BACKSLASH)
}

/** Calls back for each text between quotes in a list of blocks without escapes. */
function eachText(values: DataView, from: number, end: number, call: (from: number, end: number) => void): void {
  for (let at = from; at < end; at++) {
    if (values.getUint8(at) !== QUOTE) continue
    const textFrom = at + 1
    at = textFrom
    while (values.getUint8(at) !== QUOTE) at++
    call(textFrom, at)
  }
}

function bytesOf(text: string): DataView {
  const { buffer, byteOffset, byteLength } = Buffer.from(text, 'latin1')
  return new DataView(buffer, byteOffset, byteLength)
}

function inconsistent(what: string, details: Readonly<Record<string, unknown>>): StoreInconsistentError {
  return new StoreInconsistentError(`Payload reference check failed: ${what}`, { hint: HINT, details })
}
