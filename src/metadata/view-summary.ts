/** Summarizes a view: the number of records of each kind, and digests to compare them by. */
import { type Hash, createHash } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { closing } from '../errors/clean-up.ts'
import { PayloadIdSetBuilder } from '../payload-ids/payload-id-set.ts'
import { inOrder } from './locks.ts'
import type { ByteRangeLock, InodeNumber, ListedInode, MetadataView } from '../contracts/metadata-store.ts'
import { TIME_FIELDS } from './validate.ts'

export const RECORD_KINDS = ['shares', 'inodes', 'entries', 'blocks', 'locks', 'uploads', 'settings'] as const
export type RecordKind = (typeof RECORD_KINDS)[number]

export interface ViewSummary {
  readonly records: Readonly<Record<RecordKind, RecordSummary>>
  readonly payloadIds: RecordSummary
  readonly usedBytes: number
  readonly nextInode: InodeNumber
}

export interface RecordSummary {
  readonly count: number
  /** SHA-256, lower-case hex. */
  readonly digest: string
}

export interface SummarizeOptions {
  /** Stops the reading, which rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  /** Called now and then with the number of records read since the last call. */
  readonly onRecords?: ((records: number) => void) | undefined
}

/** Records between two turns of the event loop. */
const TURN_RECORDS = 1000
/** Characters gathered before they are hashed. */
const HASHED_LENGTH: number = 64 * 1024

/** Reads all of a view once, in bounded memory. */
export async function summarize(view: MetadataView, options: SummarizeOptions = {}): Promise<ViewSummary> {
  const turn = turnOf(options)
  const shares = byName((await view.shares()).map(({ name, root, createdAtMs, options }) => [name, root, createdAtMs, byName(Object.entries(options))]))
  const records: Record<RecordKind, RecordSummary> = {
    shares: await digestOf(shares, turn),
    inodes: await digestOf(each(view.inodes(), fieldsOfInode), turn),
    entries: await digestOf(each(view.entries(), ({ parent, name, inode, type }) => [parent, name, inode, type]), turn),
    blocks: await digestOf(each(view.allBlocks(), ({ inode, payloadId, offset, bytes }) => [inode, payloadId, offset, bytes]), turn),
    locks: await digestOf(each(locksInOrder(view), ({ inode, start, end, owner, kind }) => [inode, start, end, owner, kind]), turn),
    uploads: await digestOf(
      each(view.uploads(), ({ uploadId, parent, name, startedAtMs, blocks }) => [uploadId, parent, name, startedAtMs, blocks.map(({ payloadId, offset, bytes }) => [payloadId, offset, bytes])]),
      turn,
    ),
    settings: await digestOf(byName([...(await view.settings())]), turn),
  }
  const payloadIds = await payloadIdsOf(view, turn)
  return { records, payloadIds, usedBytes: await view.usedBytes(), nextInode: await view.nextInode() }
}

/** The differences between two summaries, each in a few words. */
export function differences(source: ViewSummary, copy: ViewSummary): readonly string[] {
  const kinds = [...RECORD_KINDS.map((kind) => [kind, source.records[kind], copy.records[kind]] as const), ['payload IDs', source.payloadIds, copy.payloadIds] as const]
  const found = kinds.flatMap(([kind, expected, actual]) => {
    if (expected.count !== actual.count) return [`${kind}: ${actual.count} instead of ${expected.count}`]
    return expected.digest === actual.digest ? [] : [`${kind}: different content`]
  })
  for (const [what, expected, actual] of [['used bytes', source.usedBytes, copy.usedBytes], ['next inode number', source.nextInode, copy.nextInode]] as const) {
    if (expected !== actual) found.push(`${what}: ${actual} instead of ${expected}`)
  }
  return found
}

/** Called for each record: now and then returns a promise, which gives way to the event loop. */
type Turn = () => Promise<void> | undefined

function turnOf({ onRecords, signal }: SummarizeOptions): Turn {
  let count = 0
  const take = async (): Promise<void> => {
    onRecords?.(TURN_RECORDS)
    await nextTurn()
    signal?.throwIfAborted()
  }
  return () => (++count % TURN_RECORDS === 0 ? take() : undefined)
}

/** Hashes records as lines of JSON, with `null` for `undefined`. */
async function digestOf(rows: Iterable<readonly unknown[]> | AsyncIterable<readonly unknown[]>, turn: Turn): Promise<RecordSummary> {
  const hash: Hash = createHash('sha256')
  let text = ''
  let count = 0
  for await (const row of rows) {
    text += `${JSON.stringify(row)}\n`
    count++
    if (text.length >= HASHED_LENGTH) {
      hash.update(text)
      text = ''
    }
    const due = turn()
    if (due !== undefined) await due
  }
  return { count, digest: hash.update(text).digest('hex') }
}

async function payloadIdsOf(view: MetadataView, turn: Turn): Promise<RecordSummary> {
  return await closing(new PayloadIdSetBuilder(), async (builder) => {
    for await (const payloadId of view.payloadIds()) {
      builder.add(payloadId)
      const due = turn()
      if (due !== undefined) await due
    }
    const set = await builder.finish()
    const { size: count, digest } = set
    await set.close()
    return { count, digest }
  })
}

function fieldsOfInode(inode: ListedInode): readonly unknown[] {
  const { type, links, mode, uid, gid, size, symlinkTarget, payloadId, blockCount, parent } = inode
  const xattrs = byName([...inode.xattrs].map(([name, value]) => [name, Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')]))
  return [inode.inode, type, links, mode, uid, gid, size, ...TIME_FIELDS.map((field) => String(inode[field])), xattrs, symlinkTarget, payloadId, blockCount, parent]
}

/** All locks. Those of one inode are sorted, for stores list them in different orders. */
async function* locksInOrder(view: MetadataView): AsyncGenerator<ByteRangeLock, void, undefined> {
  let locks: ByteRangeLock[] = []
  for await (const lock of view.allLocks()) {
    if (locks[0] !== undefined && locks[0].inode !== lock.inode) {
      yield* inOrder(locks)
      locks = []
    }
    locks.push(lock)
  }
  yield* inOrder(locks)
}

async function* each<T>(items: AsyncIterable<T>, fields: (item: T) => readonly unknown[]): AsyncGenerator<readonly unknown[], void, undefined> {
  for await (const item of items) yield fields(item)
}

function byName<T extends readonly [string, ...unknown[]]>(rows: readonly T[]): T[] {
  return rows.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
}
