/** Checks that the records of a metadata store are consistent. */
import { conflictingLock } from './locks.ts'
import type { DirectoryEntry, Inode, InodeNumber, MetadataReader } from '../contracts/metadata-store.ts'

/**
 * Walks all shares of a store, which must not change meanwhile, and resolves with the problems found:
 * - entries without their inode or of another type, and directories in several places;
 * - wrong link counts, block counts and used bytes;
 * - names or payload IDs out of order, and payload IDs that are not those of files and uploads;
 * - locks that conflict.
 *
 * Keeps every inode number and payload ID in memory: for tests and stores of moderate size.
 */
export async function checkTree(store: MetadataReader, { signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<readonly string[]> {
  const walk = new Walk(store, signal)
  for (const share of await store.shares()) await walk.root(share.root, `share ${JSON.stringify(share.name)}`)
  await walk.uploads()
  await walk.compare()
  return walk.problems
}

class Walk {
  readonly problems: string[] = []
  readonly #store: MetadataReader
  readonly #entries: Map<InodeNumber, number> = new Map()
  readonly #links: Map<InodeNumber, number> = new Map()
  readonly #payloadIds: Set<string> = new Set()
  #usedBytes = 0n

  readonly #signal: AbortSignal | undefined

  constructor(store: MetadataReader, signal: AbortSignal | undefined) {
    this.#store = store
    this.#signal = signal
  }

  async root(root: InodeNumber, path: string): Promise<void> {
    const waiting: { readonly inode: InodeNumber; readonly path: string }[] = [{ inode: root, path }]
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const inode = await this.#store.inode(next.inode)
      if (inode?.type !== 'directory') this.problems.push(`${next.path}: inode ${next.inode} is ${inode?.type ?? 'missing'}, not a directory`)
      else if (this.#entries.has(next.inode)) this.problems.push(`${next.path}: directory ${next.inode} is in more than one place`)
      else waiting.push(...(await this.#directory(inode, next.path)))
    }
  }

  async uploads(): Promise<void> {
    for await (const upload of this.#store.uploads()) {
      for (const { payloadId } of upload.blocks) this.#payloadIds.add(payloadId)
    }
  }

  async compare(): Promise<void> {
    for (const [inode, links] of this.#links) {
      const entries = this.#entries.get(inode)
      if (links !== entries) this.problems.push(`inode ${inode}: link count is ${links}, should be ${entries}`)
    }
    const usedBytes = await this.#store.usedBytes()
    if (usedBytes !== Number(this.#usedBytes)) this.problems.push(`used bytes: recorded as ${usedBytes}, but sizes add up to ${this.#usedBytes}`)
    await this.#comparePayloadIds()
  }

  /** Checks the entries of a directory. Resolves with its subdirectories. */
  async #directory(directory: Inode, path: string): Promise<{ inode: InodeNumber; path: string }[]> {
    const subdirectories: { inode: InodeNumber; path: string }[] = []
    for await (const entry of entriesOf(this.#store, directory.inode)) {
      this.#signal?.throwIfAborted()
      const entryPath = `${path}/${entry.name}`
      if (entry.type === 'directory') subdirectories.push({ inode: entry.inode, path: entryPath })
      else await this.#entry(entry, entryPath)
    }
    this.#links.set(directory.inode, directory.links)
    this.#entries.set(directory.inode, 2 + subdirectories.length)
    return subdirectories
  }

  async #entry(entry: DirectoryEntry, path: string): Promise<void> {
    const inode = await this.#store.inode(entry.inode)
    if (inode?.type !== entry.type) {
      this.problems.push(`${path}: inode ${entry.inode} is ${inode?.type ?? 'missing'}, not a ${entry.type}`)
      return
    }
    const known = this.#entries.get(inode.inode) ?? 0
    this.#entries.set(inode.inode, known + 1)
    if (known > 0) return
    this.#links.set(inode.inode, inode.links)
    if (inode.type === 'file') await this.#file(inode, path)
  }

  async #file(inode: Inode, path: string): Promise<void> {
    this.#usedBytes += BigInt(inode.size)
    if (inode.payloadId !== undefined) this.#payloadIds.add(inode.payloadId)
    let blocks = 0
    for await (const { payloadId } of this.#store.blocks(inode.inode)) {
      this.#payloadIds.add(payloadId)
      blocks++
    }
    if (blocks !== inode.blockCount) this.problems.push(`${path}: block count is ${inode.blockCount}, should be ${blocks}`)
    const locks = await this.#store.locks(inode.inode)
    for (const lock of locks) if (conflictingLock(locks, lock) !== undefined) this.problems.push(`${path}: a lock of ${lock.owner} conflicts with another`)
  }

  async #comparePayloadIds(): Promise<void> {
    const missing = new Set(this.#payloadIds)
    let last = ''
    for await (const payloadId of this.#store.payloadIds()) {
      if (payloadId <= last) this.problems.push(`payload ID ${payloadId}: comes after ${last}`)
      if (!this.#payloadIds.has(payloadId)) this.problems.push(`payload ID ${payloadId}: nothing refers to it`)
      missing.delete(payloadId)
      last = payloadId
    }
    for (const payloadId of missing) this.problems.push(`payload ID ${payloadId}: referred to, but not listed`)
  }
}

/** All entries of a directory. Throws when names are not in the order of their bytes. */
async function* entriesOf(store: MetadataReader, directory: InodeNumber): AsyncGenerator<DirectoryEntry, void, undefined> {
  let after: string | undefined
  do {
    const page = await store.readDirectory(directory, { after })
    for (const entry of page.entries) {
      if (after !== undefined && Buffer.compare(Buffer.from(after), Buffer.from(entry.name)) >= 0) {
        throw new RangeError(`Cannot walk directory ${directory}: ${JSON.stringify(entry.name)} comes after ${JSON.stringify(after)}`)
      }
      after = entry.name
      yield entry
    }
    after = page.cursor
  } while (after !== undefined)
}
