/** Checks, while a store is scanned, that its records fit together as those of every metadata store. */
import { createHmac, randomBytes } from 'node:crypto'
import type { InodeNumber, InodeType } from '../../../contracts/metadata-store.ts'
import { StoreInconsistentError } from '../../../errors/errors.ts'
import { TREE_HINT, TreeRules, type TreeRulesOptions } from '../../../metadata/tree-rules.ts'
import { SortedPairs } from '../../../util/sorted-pairs.ts'
import { plural } from '../../../util/text.ts'
import type { CountedFrame } from '../engine/payload-id-counter.ts'
import * as keys from './keys.ts'
import * as records from './records.ts'

const ENTRY_DIRECTORY = 'entries/'.length
const INODE_KEY = 'inodes/'.length
const INODE_DIGITS = 16
/** Where the values of records have their first field, and a type its third letter, which no two types share. */
const ENTRY_INODE = '{"inode":'.length
const ENTRY_TYPE: number = ',"type":"'.length + 2
const INODE_TYPE: number = '{"type":"'.length + 2
const SIZE_FIELD = 'size":'
/** Follows the size. */
const LINKS_FIELD = ',"links":'
/** The length of what follows an owner in the key of a part of a block list. */
const CHUNK_LENGTH = '/00000000'.length
/** Bytes of a hash that a number holds. */
const HASH_BYTES = 6
const TYPES: Readonly<Record<number, InodeType>> = {
  [letter('l')]: 'file', [letter('r')]: 'directory', [letter('m')]: 'symlink', [letter('f')]: 'fifo', [letter('c')]: 'socket', [letter('o')]: 'block-device', [letter('a')]: 'character-device',
}
const [ZERO, NINE] = [letter('0'), letter('9')]

type TextRecord = readonly [key: string, value: string]

/** Sees every frame of a scan, whose records were checked one by one. */
export class TreeChecker {
  readonly #rules: TreeRules
  #problem: string | undefined
  #problems = 0
  #directoryKey = ''
  #directory: InodeNumber = 0
  #nextInode: InodeNumber = 1
  #usedBytes = 0n
  #list = ''
  #chunk = 0
  #chunkBlocks = 0
  /** Blocks that uploads have and, negative, that they count, by a hash of the upload with a random key. */
  readonly #uploads: SortedPairs
  readonly #secret: Buffer = randomBytes(16)

  constructor(options: TreeRulesOptions) {
    this.#rules = new TreeRules((problem) => this.#report(problem), options)
    this.#uploads = new SortedPairs(options.spillDirectory)
  }

  async add({ name, records: frame, lookup }: CountedFrame): Promise<void> {
    const found = frame as readonly TextRecord[]
    if (name === 'entries') for (const [key, value] of found) this.#addEntry(key, value)
    else if (name === 'inodes') for (const [key, value] of found) this.#addInode(numberAt(key, INODE_KEY), value)
    else if (name === 'shares') for (const [, value] of found) this.#rules.share(records.decodeShare(value).root)
    else if (name === 'uploads') for (const [key, value] of found) this.#countUpload(keys.textOfKey(key), -records.decodeUpload(value).blockCount)
    else if (name === 'locks') await this.#addLocks(found, lookup)
    else if (name === 'counters') for (const [key, value] of found) this.#addCounter(key, value)
  }

  /** Takes a part of a block list, by its key, and how many blocks it has. */
  addChunk(key: string, blocks: number): void {
    const list = key.slice(0, -CHUNK_LENGTH)
    const chunk = Number(key.slice(1 - CHUNK_LENGTH))
    const isNext = list === this.#list ? chunk === this.#chunk + 1 && this.#chunkBlocks === records.BLOCKS_PER_CHUNK : chunk === 0
    if (!isNext) this.#report(`block list "${list}": part ${chunk} does not follow the part before`)
    this.#list = list
    this.#chunk = chunk
    this.#chunkBlocks = blocks
    if (key.startsWith('blocks/')) this.#rules.blocks(keys.inodeOfKey(key), blocks)
    else this.#countUpload(keys.textOfKey(list), blocks)
  }

  /** Ends the check. Throws `store_inconsistent` with the first problem. */
  finish(): void {
    this.#compareUploads()
    this.#rules.finish({ nextInode: this.#nextInode, usedBytes: this.#usedBytes })
    if (this.#problem === undefined) return
    const more = this.#problems === 1 ? '' : ` (and ${plural(this.#problems - 1, 'more problem')})`
    throw new StoreInconsistentError(`Tree check failed: ${this.#problem}${more}`, {
      hint: TREE_HINT,
      details: { problem: this.#problem, problems: this.#problems },
    })
  }

  close(): void {
    this.#rules.close()
    this.#uploads.close()
  }

  #report(problem: string): void {
    this.#problem ??= problem
    this.#problems++
  }

  #addEntry(key: string, value: string): void {
    if (!key.startsWith(this.#directoryKey) || this.#directoryKey === '') {
      this.#directoryKey = key.slice(0, ENTRY_DIRECTORY + INODE_DIGITS)
      this.#directory = numberAt(key, ENTRY_DIRECTORY)
    }
    const inode = numberAt(value, ENTRY_INODE)
    this.#rules.entry(this.#directory, inode, typeAt(value, numberEnd + ENTRY_TYPE))
  }

  /** Reads the few fields that matter: decoding all of them would slow a backup. */
  #addInode(inode: InodeNumber, value: string): void {
    const type = typeAt(value, INODE_TYPE)
    const size = numberAt(value, value.indexOf(SIZE_FIELD, INODE_TYPE) + SIZE_FIELD.length)
    const links = numberAt(value, numberEnd + LINKS_FIELD.length)
    // The last field of a directory is its parent. A file's is the number of its blocks, if it has any: others end with a quote or a
    // bracket.
    const last = value.charCodeAt(value.length - 2)
    const number = last >= ZERO && last <= NINE ? numberAt(value, value.lastIndexOf(':') + 1) : 0
    this.#rules.inode({
      inode,
      type,
      size,
      links,
      blockCount: type === 'file' ? number : 0,
      parent: type === 'directory' ? number : undefined,
    })
  }

  async #addLocks(frame: readonly TextRecord[], lookup: CountedFrame['lookup']): Promise<void> {
    const inodes = [...new Set(frame.map(([key]) => keys.inodeOfKey(key)))]
    for (const [at, value] of (await lookup(inodes.map(keys.inodeKey))).entries()) {
      this.#rules.lock(inodes[at] ?? 0, value === undefined ? undefined : typeAt(value, INODE_TYPE))
    }
  }

  #countUpload(uploadId: string, blocks: number): void {
    const hash = createHmac('sha256', this.#secret).update(uploadId).digest()
    this.#uploads.add(hash.readUIntBE(0, HASH_BYTES), blocks)
  }

  #compareUploads(): void {
    const cursor = this.#uploads.sorted()
    while (cursor.key !== Number.POSITIVE_INFINITY) {
      const upload = cursor.key
      let difference = 0
      for (; cursor.key === upload; cursor.next()) difference += cursor.value
      if (difference !== 0) this.#report(`an upload has ${plural(Math.abs(difference), 'block')} ${difference > 0 ? 'more' : 'fewer'} than it counts`)
    }
  }

  #addCounter(key: string, value: string): void {
    if (key === keys.NEXT_INODE_KEY) this.#nextInode = Number(value)
    else this.#usedBytes = BigInt(value)
  }
}

function letter(text: string): number {
  return text.charCodeAt(0)
}

function typeAt(value: string, at: number): InodeType {
  return TYPES[value.charCodeAt(at)] ?? 'file'
}

/** Where the last number ended. */
let numberEnd = 0

/** The decimal number that begins at a place; it ends before anything that is not a digit. */
function numberAt(value: string, at: number): number {
  let number = 0
  for (let digit = value.charCodeAt(at); digit >= ZERO && digit <= NINE; digit = value.charCodeAt(++at)) number = number * 10 + (digit - ZERO)
  numberEnd = at
  return number
}
