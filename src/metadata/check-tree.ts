/** Checks that the records of a metadata store are consistent. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { closing } from '../errors/clean-up.ts'
import { PayloadIdSetBuilder } from '../payload-ids/payload-id-set.ts'
import { type Kind, SIGNAL, checkArgument, checkOptions, has, optional } from '../util/check-options.ts'
import { plural } from '../util/text.ts'
import { conflictingLock } from './locks.ts'
import type { ByteRangeLock, InodeNumber, ListedEntry, MetadataStore, MetadataView } from '../contracts/metadata-store.ts'
import { TreeRules } from './tree-rules.ts'

export interface CheckTreeOptions {
  /** Ends the check, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

const READABLE: Kind = has<MetadataView>('a metadata store or a view of one', 'shares', 'payloadIds')

/** The most problems that are told one by one. */
const MAX_PROBLEMS = 1000
/** Records between two turns of the event loop. */
const TURN_RECORDS = 1000

/**
 * Reads all of a store at one instant, in bounded memory, and resolves with the problems found, in words:
 * - entries without their inode or of another type; inodes without a name; directories in several places, in themselves, or below no share;
 * - wrong link counts, block counts and used bytes; a next inode number that is in use;
 * - names or payload IDs out of order, and payload IDs that are not those of files and uploads;
 * - locks that conflict, or are not of files.
 */
export async function checkTree(store: MetadataStore | MetadataView, options: CheckTreeOptions = {}): Promise<readonly string[]> {
  checkArgument('checkTree', store, { name: 'store', kind: READABLE })
  checkOptions('checkTree', options, { signal: optional(SIGNAL) })
  const view = 'view' in store ? await store.view() : store
  const check = new Check(view, options.signal)
  try {
    return await check.run()
  } finally {
    await check.close()
    if (view !== store) await view.close()
  }
}

class Check {
  readonly #view: MetadataView
  readonly #signal: AbortSignal | undefined
  readonly #rules: TreeRules
  readonly #payloadIds = new PayloadIdSetBuilder()
  readonly #problems: string[] = []
  #untold = 0
  #records = 0

  constructor(view: MetadataView, signal: AbortSignal | undefined) {
    this.#view = view
    this.#signal = signal
    this.#rules = new TreeRules((problem) => this.#report(problem))
  }

  async run(): Promise<readonly string[]> {
    const [view, rules] = [this.#view, this.#rules]
    for await (const { inode, payloadId } of this.#each(view.allBlocks())) {
      rules.blocks(inode, 1)
      this.#payloadIds.add(payloadId)
    }
    await this.#entries()
    for await (const inode of this.#each(view.inodes())) {
      rules.inode(inode)
      if (inode.payloadId !== undefined) this.#payloadIds.add(inode.payloadId)
    }
    for (const { root } of await view.shares()) rules.share(root)
    rules.finish({ nextInode: await view.nextInode(), usedBytes: await view.usedBytes() })
    await this.#locks()
    for await (const { blocks } of this.#each(view.uploads())) for (const { payloadId } of blocks) this.#payloadIds.add(payloadId)
    await this.#comparePayloadIds()
    return this.#untold === 0 ? this.#problems : [...this.#problems, `and ${plural(this.#untold, 'more problem')}`]
  }

  async close(): Promise<void> {
    this.#rules.close()
    await this.#payloadIds.close()
  }

  #report(problem: string): void {
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push(problem)
    else this.#untold++
  }

  async #entries(): Promise<void> {
    let last: ListedEntry | undefined
    for await (const entry of this.#each(this.#view.entries())) {
      const { parent, name, inode, type } = entry
      if (last !== undefined && (last.parent > parent || (last.parent === parent && Buffer.compare(Buffer.from(last.name), Buffer.from(name)) >= 0))) {
        this.#report(`directory ${parent}: entry ${JSON.stringify(name)} comes after ${JSON.stringify(last.name)} of directory ${last.parent}`)
      }
      this.#rules.entry(parent, inode, type)
      last = entry
    }
  }

  async #locks(): Promise<void> {
    let locks: ByteRangeLock[] = []
    for await (const lock of this.#each(this.#view.allLocks())) {
      if (locks[0] !== undefined && locks[0].inode !== lock.inode) {
        await this.#locksOf(locks[0].inode, locks)
        locks = []
      }
      locks.push(lock)
    }
    if (locks[0] !== undefined) await this.#locksOf(locks[0].inode, locks)
  }

  async #locksOf(inode: InodeNumber, locks: readonly ByteRangeLock[]): Promise<void> {
    this.#rules.lock(inode, (await this.#view.inode(inode))?.type)
    for (const lock of locks) if (conflictingLock(locks, lock) !== undefined) this.#report(`inode ${inode}: a lock of ${lock.owner} conflicts with another`)
  }

  async #comparePayloadIds(): Promise<void> {
    await closing(await this.#payloadIds.finish(), async (set) => {
      const referred = set[Symbol.asyncIterator]()
      let next = await referred.next()
      let last = ''
      for await (const payloadId of this.#each(this.#view.payloadIds())) {
        if (payloadId <= last) this.#report(`payload ID ${payloadId}: comes after ${last}`)
        last = payloadId
        for (; next.done !== true && next.value < payloadId; next = await referred.next()) this.#unlisted(next.value)
        if (next.done !== true && next.value === payloadId) next = await referred.next()
        else this.#report(`payload ID ${payloadId}: nothing refers to it`)
      }
      for (; next.done !== true; next = await referred.next()) this.#unlisted(next.value)
    })
  }

  #unlisted(payloadId: string): void {
    this.#report(`payload ID ${payloadId}: referred to, but not listed`)
  }

  /** Passes records on, and gives way to the event loop now and then. */
  async *#each<T>(records: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
    for await (const record of records) {
      if (++this.#records % TURN_RECORDS === 0) {
        await nextTurn()
        this.#signal?.throwIfAborted()
      }
      yield record
    }
  }
}
