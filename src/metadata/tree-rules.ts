/**
 * What holds in every metadata store, whatever wrote its records: how shares, directory entries and inodes fit together. Checked in one
 * pass over the records, in bounded memory.
 */
import type { InodeNumber, InodeType } from '../contracts/metadata-store.ts'
import { plural } from '../util/text.ts'
import { SortedPairs, type PairCursor } from '../util/sorted-pairs.ts'

/** The parts of an inode that have to fit. `parent`: of a directory the directory that it is in; a root names itself. */
export interface RuledInode {
  readonly inode: InodeNumber
  readonly type: InodeType
  readonly links: number
  readonly size: number
  readonly blockCount: number
  readonly parent: InodeNumber | undefined
}

export interface Counters {
  readonly nextInode: InodeNumber
  /** A number where the store cannot tell it exactly. */
  readonly usedBytes: bigint | number
}

export interface TreeRulesOptions {
  /** Where facts go that outgrow memory. @default the system's temporary directory */
  readonly spillDirectory?: string | undefined
}

/** The inode numbers that must be left for new inodes. */
const NUMBERS_LEFT: number = 2 ** 32
export const LAST_NEXT_INODE: InodeNumber = Number.MAX_SAFE_INTEGER - NUMBERS_LEFT
/** The way out where a store, or what was restored, breaks a rule. */
export const TREE_HINT =
  'Nothing was published or swapped in. "holdfast check" tells all of a store. Restore an earlier backup, or export the trees and import them into a new store'

/**
 * What is known of an inode before its record comes: that it is a directory in another (its number, positive); otherwise a count times 8
 * and one of these kinds, negative.
 */
const KINDS = 8
const ENTRIES = 0
const BLOCKS = 1
const ENTRY_KINDS: Readonly<Record<Exclude<InodeType, 'directory'>, number>> = { file: 2, symlink: 3, fifo: 4, socket: 5, 'block-device': 6, 'character-device': 7 }
const ENTRY_TYPES: readonly InodeType[] = Object.keys(ENTRY_KINDS) as InodeType[]
const FIRST_ENTRY_KIND = 2
const [FOUND, SHARED] = [0, 1] as const

/** What the records before an inode say of it. */
class Facts {
  /** Entries by which it is a directory, and the directory of the last of them. */
  places = 0
  place: InodeNumber = 0
  /** Entries by which it is of another type, and the type of the last of them. */
  entries = 0
  type: InodeType | undefined
  /** Whether they are of several types. */
  isTorn = false
  hasEntries = false
  subdirectories = 0
  blocks = 0

  add(fact: number): void {
    if (fact > 0) {
      this.places++
      this.place = fact
      return
    }
    const count = Math.floor(-fact / KINDS)
    const kind = -fact % KINDS
    if (kind === BLOCKS) this.blocks += count
    else if (kind === ENTRIES) {
      this.hasEntries = true
      this.subdirectories += count
    } else {
      const type = ENTRY_TYPES[kind - FIRST_ENTRY_KIND]
      this.isTorn ||= this.type !== undefined && this.type !== type
      this.entries += count
      this.type = type
    }
  }

  clear(): void {
    this.places = this.place = this.entries = this.subdirectories = this.blocks = 0
    this.type = undefined
    this.isTorn = this.hasEntries = false
  }
}

/**
 * Takes the records of a store: first blocks and entries, in any order but that entries of one directory follow each other; then the inodes
 * by number; shares whenever they come. Calls `report` with each problem, in words.
 */
export class TreeRules {
  readonly #report: (problem: string) => void
  readonly #options: TreeRulesOptions
  readonly #facts: SortedPairs
  readonly #roots: SortedPairs
  /** The directories but the roots, by number, and the directory that each is in. */
  #parents: SortedPairs
  #cursor: PairCursor | undefined
  readonly #found = new Facts()
  #directory: InodeNumber = 0
  #subdirectories = 0
  #lastInode: InodeNumber = 0
  /** Whether a directory is in one with a greater number: each ring has one. */
  #isRingPossible = false
  #usedBytes = 0n
  /** Used bytes that are not added up yet. */
  #addedBytes = 0

  constructor(report: (problem: string) => void, options: TreeRulesOptions = {}) {
    this.#report = report
    this.#options = options
    this.#facts = this.#newPairs()
    this.#roots = this.#newPairs()
    this.#parents = this.#newPairs()
  }

  /** Blocks of an inode's block list, not necessarily all. */
  blocks(inode: InodeNumber, count: number): void {
    this.#facts.add(inode, -(count * KINDS + BLOCKS))
  }

  entry(directory: InodeNumber, inode: InodeNumber, type: InodeType): void {
    if (directory !== this.#directory) this.#endDirectory(directory)
    if (type === 'directory') {
      this.#facts.add(inode, directory)
      this.#subdirectories++
    } else this.#facts.add(inode, -(KINDS + ENTRY_KINDS[type]))
  }

  inode(record: RuledInode): void {
    const { inode, type, links, size, blockCount } = record
    const found = this.#factsOf(inode)
    this.#lastInode = inode
    if (type === 'directory') this.#checkDirectory(record, found)
    else {
      if (found.places > 0) this.#say(inode, `is a ${type}, but an entry says that it is a directory`)
      else if (found.entries === 0) this.#say(inode, 'no entry names it')
      else if (found.isTorn || found.type !== type) this.#say(inode, `is a ${type}, but an entry says that it is ${found.isTorn ? 'something else' : `a ${found.type}`}`)
      if (found.hasEntries) this.#say(inode, `is a ${type}, but has entries`)
      if (links !== found.entries) this.#say(inode, `link count is ${links}, should be ${found.entries}`)
      if (type === 'file') this.#countBytes(size)
    }
    if (found.blocks !== blockCount) this.#say(inode, `block count is ${blockCount}, should be ${found.blocks}`)
  }

  share(root: InodeNumber): void {
    this.#roots.add(root, SHARED)
  }

  /** A lock, and the type of its inode if that is there. */
  lock(inode: InodeNumber, type: InodeType | undefined): void {
    if (type !== 'file') this.#say(inode, `has a lock, but is ${type === undefined ? 'missing' : `a ${type}`}`)
  }

  finish({ nextInode, usedBytes }: Counters): void {
    this.#factsOf(Number.POSITIVE_INFINITY)
    this.#checkRoots()
    this.#checkRings()
    if (nextInode <= this.#lastInode) this.#say(this.#lastInode, `the next inode would get number ${nextInode}, which is not greater`)
    if (nextInode > LAST_NEXT_INODE) this.#report(`next inode: number ${nextInode} leaves too few numbers for new inodes`)
    const sum = this.#usedBytes + BigInt(this.#addedBytes)
    if (typeof usedBytes === 'bigint' ? usedBytes !== sum : usedBytes !== Number(sum)) this.#report(`used bytes: recorded as ${usedBytes}, but sizes add up to ${sum}`)
  }

  /** Frees memory and files. Idempotent. */
  close(): void {
    for (const pairs of [this.#facts, this.#roots, this.#parents]) pairs.close()
  }

  #say(inode: InodeNumber, problem: string): void {
    this.#report(`inode ${inode}: ${problem}`)
  }

  #newPairs(): SortedPairs {
    return new SortedPairs(this.#options.spillDirectory)
  }

  #endDirectory(next: InodeNumber): void {
    if (this.#directory !== 0) this.#facts.add(this.#directory, -(this.#subdirectories * KINDS + ENTRIES))
    this.#directory = next
    this.#subdirectories = 0
  }

  /** All facts of an inode. Reports inodes before it that have facts but no record. */
  #factsOf(inode: InodeNumber): Facts {
    if (this.#cursor === undefined) {
      this.#endDirectory(0)
      this.#cursor = this.#facts.sorted()
    }
    const [cursor, found] = [this.#cursor, this.#found]
    while (cursor.key < inode) {
      const missing = cursor.key
      this.#take(cursor, missing)
      const named = found.places > 0 ? `an entry in directory ${found.place} names it as a directory` : `an entry names it as a ${found.type}`
      const what = found.places + found.entries > 0 ? named : found.hasEntries ? 'it has entries' : 'it has blocks'
      this.#say(missing, `is missing, but ${what}`)
    }
    if (inode !== Number.POSITIVE_INFINITY) this.#take(cursor, inode)
    return found
  }

  #take(cursor: PairCursor, inode: InodeNumber): void {
    this.#found.clear()
    while (cursor.key === inode) {
      this.#found.add(cursor.value)
      cursor.next()
    }
  }

  #checkDirectory({ inode, links, parent = 0 }: RuledInode, found: Facts): void {
    if (found.entries > 0) this.#say(inode, `is a directory, but an entry says that it is a ${found.type}`)
    if (parent === inode) {
      this.#roots.add(inode, FOUND)
      if (found.places > 0) this.#say(inode, found.place === inode ? 'the directory is in itself' : `is a root, but an entry in directory ${found.place} names it`)
    } else {
      if (found.places === 0) this.#say(inode, 'no entry names the directory')
      else if (found.places > 1) this.#say(inode, 'the directory is in more than one place')
      else if (found.place !== parent) this.#say(inode, `the directory is in ${found.place}, but its record says ${parent}`)
      this.#parents.add(inode, parent)
      this.#isRingPossible ||= parent > inode
    }
    const expected = 2 + found.subdirectories
    if (links !== expected) this.#say(inode, `link count is ${links}, should be ${expected}`)
  }

  #countBytes(size: number): void {
    if (size > Number.MAX_SAFE_INTEGER - this.#addedBytes) {
      this.#usedBytes += BigInt(this.#addedBytes)
      this.#addedBytes = 0
    }
    this.#addedBytes += size
  }

  /** Checks that each root is that of one share. */
  #checkRoots(): void {
    const cursor = this.#roots.sorted()
    while (cursor.key !== Number.POSITIVE_INFINITY) {
      const root = cursor.key
      let [found, shares] = [0, 0]
      for (; cursor.key === root; cursor.next()) {
        if (cursor.value === SHARED) shares++
        else found++
      }
      if (found === 0) this.#say(root, 'is the root of a share, but not a directory outside all others')
      else if (shares !== 1) this.#say(root, `is the root of ${plural(shares, 'share')}`)
    }
  }

  /**
   * Checks that the way up from each directory ends at a root. Each round doubles the steps of all ways and leaves out those that have
   * ended; a ring is what is left when none ends any more.
   */
  #checkRings(): void {
    if (!this.#isRingPossible) return
    for (let before = Number.POSITIVE_INFINITY; this.#parents.size > 0 && this.#parents.size < before; ) {
      before = this.#parents.size
      this.#doubleSteps()
    }
    if (this.#parents.size > 0) this.#say(this.#parents.sorted().key, 'the directory is below no share, for the way up from it is a ring')
  }

  #doubleSteps(): void {
    const [above, doubled] = [this.#newPairs(), this.#newPairs()]
    try {
      for (const from = this.#parents.sorted(); from.key !== Number.POSITIVE_INFINITY; from.next()) above.add(from.value, from.key)
      const [next, steps] = [above.sorted(), this.#parents.sorted()]
      for (; next.key !== Number.POSITIVE_INFINITY; next.next()) {
        while (steps.key < next.key) steps.next()
        if (steps.key === next.key) doubled.add(next.value, steps.value)
      }
    } finally {
      above.close()
      this.#parents.close()
      this.#parents = doubled
    }
  }
}
