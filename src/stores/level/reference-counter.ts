/** Whether the index of references has what inodes, block lists and uploads refer to, neither less nor more. */
import { StoreInconsistentError } from '../../errors.ts'
import { PairHash, PairList, PairSum } from './pair-hash.ts'
import type { PayloadIdCounter } from './payload-id-counter.ts'
import * as records from './records.ts'

const REFERENCE_AT = 'references/'.length
const INODE_AT = 'inodes/'.length
/** What follows an owner in the key of a chunk. */
const CHUNK_LENGTH = '/00000000'.length
/** Who refers, as in the keys of references. */
const [INODE, UPLOAD] = ['i'.charCodeAt(0), 'u'.charCodeAt(0)] as const
const PAYLOAD_ID_FIELD = ',"payloadId":"'
/** What no other field ends with. */
const FIELD_END = 'Id":"'
const BLOCK_COUNT_FIELD = ',"blockCount"'
/** What an inode with a payload ends with. */
const TEXT_END = '"}'
const HINT =
  'Nothing was published. Delete no payloads meanwhile: restore an earlier backup, or export the trees and import them into a new store'

/**
 * Counts references, each a payload ID and an inode or upload that refers to it, on both sides; equal sums of their hashes are equal
 * references, but for a chance of 1 in 2^64. Takes 8 bytes for each block of the largest file. Its records are valid.
 */
export class ReferenceCounter implements PayloadIdCounter {
  readonly #indexed = new PairSum()
  readonly #recorded = new PairSum()
  readonly #hash = new PairHash()
  #payloadIds = 0
  #lastLow = 0
  #lastHigh = 0
  /** Of the owner whose block list is being read. */
  readonly #listed = new PairList()
  #owner = ''
  #blocks = 0
  #countedBlocks = 0
  /** Of the payload ID before, which is where that of the next record is looked for. */
  #idLength = 64

  add(key: string, value: string, section: string): void {
    if (section === 'references') this.#addReference(key)
    else if (section === 'inodes') this.#addInode(key, value)
    else if (section === 'blocks' || section === 'upload-blocks') this.#addChunk(key, value, section)
    else if (section === 'uploads') this.#countedBlocks += records.decodeUpload(value).blockCount
  }

  count(): number {
    this.#listed.moveTo(this.#recorded)
    const [indexed, recorded] = [this.#indexed.count, this.#recorded.count]
    if (!this.#indexed.equals(this.#recorded)) {
      const what = indexed === recorded ? `the ${indexed} references of its index are not those` : `its index has ${indexed} references, and there are ${recorded}`
      throw inconsistent(`${what} of its inodes, block lists and uploads`, { expected: { references: recorded }, actual: { references: indexed } })
    }
    if (this.#blocks !== this.#countedBlocks) {
      const counts = { expected: { blocks: this.#countedBlocks }, actual: { blocks: this.#blocks } }
      throw inconsistent(`its block lists have ${this.#blocks} blocks, and its inodes and uploads count ${this.#countedBlocks}`, counts)
    }
    return this.#payloadIds
  }

  /** The index is in the order of payload IDs, so that each is counted where another one begins. */
  #addReference(key: string): void {
    const hash = this.#hash
    const space = key.indexOf(' ', REFERENCE_AT)
    this.#begin(key, REFERENCE_AT, space)
    if (this.#payloadIds === 0 || hash.low !== this.#lastLow || hash.high !== this.#lastHigh) this.#payloadIds++
    this.#lastLow = hash.low
    this.#lastHigh = hash.high
    this.#end(key.charCodeAt(space + 1), key, space + 2, key.length)
    this.#indexed.add(hash)
  }

  #addInode(key: string, value: string): void {
    const end = value.length - TEXT_END.length
    if (this.#beginInode(value, end - this.#idLength, end) || this.#beginInode(value, value.lastIndexOf('"', end - 1) + 1, end)) return this.#endInode(key)
    const colon = value.lastIndexOf(':')
    if (value.startsWith(BLOCK_COUNT_FIELD, colon - BLOCK_COUNT_FIELD.length)) {
      this.#countedBlocks += Number(value.slice(colon + 1, -1))
    } else if (value.includes(PAYLOAD_ID_FIELD)) {
      const { payloadId = '' } = records.decodeInode(value)
      this.#begin(payloadId, 0, payloadId.length)
      this.#endInode(key)
    }
  }

  /** Whether the payload ID of an inode begins there, with no escape in it. */
  #beginInode(value: string, from: number, end: number): boolean {
    // The only field of such a name; within another text its quotes would be escaped.
    for (let at = 1; at <= FIELD_END.length; at++) if (value.charCodeAt(from - at) !== FIELD_END.charCodeAt(FIELD_END.length - at)) return false
    this.#idLength = end - from
    this.#begin(value, from, end)
    return this.#hash.backslashes === 0
  }

  #endInode(key: string): void {
    this.#end(INODE, key, INODE_AT, key.length)
    this.#recorded.add(this.#hash)
  }

  /** A block list may refer to a payload several times, which is one reference. */
  #addChunk(key: string, value: string, section: 'blocks' | 'upload-blocks'): void {
    const ownerEnd = key.length - CHUNK_LENGTH
    const owner = key.slice(0, ownerEnd)
    if (owner !== this.#owner) this.#listed.moveTo(this.#recorded)
    this.#owner = owner
    const endBlock = (): void => {
      this.#end(section === 'blocks' ? INODE : UPLOAD, key, section.length + 1, ownerEnd)
      this.#listed.add(this.#hash)
      this.#blocks++
    }
    if (value.includes('\\')) {
      for (const { payloadId } of records.decodeBlocks(value)) {
        this.#begin(payloadId, 0, payloadId.length)
        endBlock()
      }
      return
    }
    for (let quote = value.indexOf('"'); quote !== -1; ) {
      const end = value.indexOf('"', quote + 1)
      this.#begin(value, quote + 1, end)
      endBlock()
      quote = value.indexOf('"', end + 1)
    }
  }

  #begin(text: string, from: number, end: number): void {
    this.#hash.begin(end - from)
    this.#hash.absorb(text, from, end)
  }

  #end(owner: number, key: string, from: number, end: number): void {
    this.#hash.mark(owner)
    this.#hash.absorb(key, from, end)
    this.#hash.end()
  }
}

function inconsistent(what: string, details: Readonly<Record<string, unknown>>): StoreInconsistentError {
  return new StoreInconsistentError(`Cannot trust what the store refers to: ${what}`, { hint: HINT, details })
}
