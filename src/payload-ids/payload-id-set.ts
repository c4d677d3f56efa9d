/**
 * Sets of payload IDs that may be larger than memory: built from IDs in any order, read in ascending order.
 * A set is kept encoded, in memory while small, else in an unlinked temporary file.
 *
 * A payload ID is 1 to 255 characters of printable ASCII without spaces.
 */
import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { checkNumber } from '../util/check-number.ts'
import { NUMBER, STRING, checkOptions, optional } from '../util/check-options.ts'
import { BlockDecoder } from './block-decoder.ts'
import { BlockEncoder } from './block-encoder.ts'
import { type IdList, firstOf, idsOf, listOf } from './id-list.ts'
import { type IdLists, mergeRuns } from './merge.ts'
import { MAX_SORTED_IDS, sortIds } from './sort.ts'
import { Spill, type SpillState } from './spill.ts'

export { checkPayloadId } from './id-list.ts'

export interface PayloadIdSetOptions {
  /** Where a set goes that outgrows its memory: an unnamed file, which ends with the process. @default the system's temporary directory */
  readonly spillDirectory?: string | undefined
  /** The most encoded bytes kept in memory. @default 8 MiB */
  readonly memoryLimitBytes?: number | undefined
}

/** A set as plain data, which can be sent to another thread. `PayloadIdSet.from` takes it over. */
export interface PayloadIdSetState {
  readonly size: number
  readonly digest: string
  readonly encoded: SpillState
}

const DEFAULT_MEMORY_LIMIT_BYTES: number = 8 * 1024 * 1024
/** Bytes sorted and encoded at once, of at most `MAX_SORTED_IDS`: some ten milliseconds of work. */
const MAX_RUN_BYTES: number = 4 * 1024 * 1024
/** IDs gathered one by one before they are packed. */
const GATHERED_IDS = 1024
/** Runs merged at once, of at most 33 M digests; reading them takes 32 MiB. */
const MERGED_RUNS = 512
const MERGE_READ_BYTES: number = 64 * 1024
/** IDs between two turns of the event loop: some ten milliseconds of decoding. */
const TURN_IDS = 65_536

/** A set of payload IDs, in ascending order of their bytes. The caller closes it, for it may have an open file. */
export class PayloadIdSet implements AsyncIterable<string>, AsyncDisposable {
  /** The number of IDs. */
  readonly size: number
  /** SHA-256 of the `payload-ids` object, in lower-case hex. A set has only one such object. */
  readonly digest: string
  readonly #encoded: Spill

  private constructor(state: Omit<PayloadIdSetState, 'encoded'>, encoded: Spill) {
    this.size = state.size
    this.digest = state.digest
    this.#encoded = encoded
  }

  /** Takes over a set that was detached, in this thread or another. */
  static from(state: PayloadIdSetState): PayloadIdSet {
    return new PayloadIdSet(state, Spill.from(state.encoded))
  }

  /** Bytes of the `payload-ids` object. */
  get bytes(): number {
    return this.#encoded.bytes
  }

  /** Turns the set into plain data. The set must not be used or closed afterwards. */
  detach(): PayloadIdSetState {
    return { size: this.size, digest: this.digest, encoded: this.#encoded.detach() }
  }

  /** The IDs in ascending order. May run several times, also at once. */
  async *[Symbol.asyncIterator](): AsyncGenerator<string, void, undefined> {
    for await (const batch of this.batches()) yield* batch
  }

  /** The IDs in ascending order, in batches: several times as fast. */
  batches(): AsyncGenerator<readonly string[], void, undefined> {
    return decodePayloadIdBatches(this.encoded())
  }

  /** The bytes of the `payload-ids` object. */
  encoded(): AsyncIterable<Uint8Array> {
    return this.#encoded.read()
  }

  /** Frees the memory and the file. Idempotent. */
  async close(): Promise<void> {
    await this.#encoded.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/**
 * Builds a set of payload IDs. IDs in ascending order are encoded at once, which costs the least.
 * Others are sorted in runs, which `finish` merges. Digests in lower-case hex cost several times less than other IDs.
 */
export class PayloadIdSetBuilder {
  readonly #options: Required<{ [Name in keyof PayloadIdSetOptions]: PayloadIdSetOptions[Name] }>
  readonly #runBytes: number
  #runs: Run[] = []
  #spill: Spill
  #gathered: string[] = []
  /** Lists that are not in a run yet, all of one width. */
  #lists: IdList[] = []
  #count = 0
  #bytes = 0

  constructor(options: PayloadIdSetOptions = {}) {
    checkOptions('PayloadIdSetBuilder', options, { spillDirectory: optional(STRING), memoryLimitBytes: optional(NUMBER) })
    const { spillDirectory, memoryLimitBytes = DEFAULT_MEMORY_LIMIT_BYTES } = options
    this.#options = { spillDirectory, memoryLimitBytes: checkNumber('memoryLimitBytes', memoryLimitBytes, { least: 1, most: Infinity }) }
    this.#runBytes = Math.min(MAX_RUN_BYTES, memoryLimitBytes / 2)
    this.#spill = new Spill(this.#options)
  }

  /**
   * Adds one payload ID, also one that is in the set already.
   * Throws, now or when more IDs are added: `invalid_argument` for a malformed ID; `destination_no_space` or `internal` if the set cannot
   * spill.
   */
  add(payloadId: string): void {
    this.#gathered.push(payloadId)
    if (this.#gathered.length === GATHERED_IDS) this.#pack()
  }

  /** Adds lines of payload IDs, each ended by a line feed. Throws as `add` does. */
  addLines(lines: Buffer): void {
    const payloadIds = lines.toString('latin1', 0, Math.max(0, lines.byteLength - 1)).split('\n')
    if (lines.byteLength > 0) for (let from = 0; from < payloadIds.length; from += GATHERED_IDS) this.addList(listOf(payloadIds.slice(from, from + GATHERED_IDS)))
  }

  /** Adds a list of IDs. Throws as `add` does. */
  addList(list: IdList): void {
    if (list.count === 0) return
    const isOther = this.#lists[0] !== undefined && this.#lists[0].width !== list.width
    if (isOther || this.#count + list.count > MAX_SORTED_IDS || this.#bytes + list.bytes.byteLength > this.#runBytes) this.#endRun()
    this.#lists.push(list)
    this.#count += list.count
    this.#bytes += list.bytes.byteLength
  }

  /** Makes the set of all that was added. Uses the builder up. */
  async finish(): Promise<PayloadIdSet> {
    this.#pack()
    this.#endRun()
    if (this.#runs.length === 0) this.#runs.push(new Run(this.#spill))
    this.#runs.at(-1)?.end()
    while (this.#runs.length > 1) await this.#mergeOnce()
    const { encoder } = this.#runs[0] as Run
    const digest = createHash('sha256')
    for await (const bytes of this.#spill.read()) digest.update(bytes)
    return PayloadIdSet.from({ size: encoder.count, digest: digest.digest('hex'), encoded: this.#spill.detach() })
  }

  /** Frees everything if the set is not wanted. Idempotent; not needed after `finish`. */
  async close(): Promise<void> {
    await this.#spill.close()
  }

  /** Merges runs, a limited number at once, from one spill into another. */
  async #mergeOnce(): Promise<void> {
    const spill = new Spill(this.#options)
    const runs: Run[] = []
    try {
      for (let from = 0; from < this.#runs.length; from += MERGED_RUNS) {
        const group = this.#runs.slice(from, from + MERGED_RUNS)
        const merged = new Run(spill)
        for await (const list of mergeRuns(group.map((run) => run.lists()))) merged.encoder.add(list)
        merged.end()
        runs.push(merged)
      }
    } catch (error) {
      await spill.close()
      throw error
    }
    await this.#spill.close()
    this.#spill = spill
    this.#runs = runs
  }

  #pack(): void {
    if (this.#gathered.length > 0) this.addList(listOf(this.#gathered))
    this.#gathered = []
  }

  #endRun(): void {
    const lists = this.#lists
    if (lists.length === 0) return
    this.#lists = []
    this.#count = 0
    this.#bytes = 0
    const list = sortIds(lists)
    const run = this.#runs.at(-1)
    // IDs that follow the last run make it longer, so that a set that came in order is one run.
    if (run !== undefined && firstOf(list) > run.encoder.last) return run.encoder.add(list)
    run?.end()
    const next = new Run(this.#spill)
    this.#runs.push(next)
    next.encoder.add(list)
  }
}

/** IDs in ascending order, encoded at the end of a spill. The last run of a spill may still grow. */
class Run {
  readonly encoder: BlockEncoder
  readonly #spill: Spill
  readonly #from: number
  #end: number | undefined

  constructor(spill: Spill) {
    this.#spill = spill
    this.#from = spill.bytes
    this.encoder = new BlockEncoder((bytes) => spill.append(bytes))
  }

  end(): void {
    this.encoder.end()
    this.#end = this.#spill.bytes
  }

  lists(): IdLists {
    return decodePayloadIdLists(this.#spill.read({ start: this.#from, end: this.#end, readBytes: MERGE_READ_BYTES }))
  }
}

/** Makes an empty set. */
export async function emptyPayloadIdSet(): Promise<PayloadIdSet> {
  return await new PayloadIdSetBuilder().finish()
}

/** Reads the IDs of a `payload-ids` object. Throws `restore_corrupt` with the byte offset when it is damaged. */
export async function* decodePayloadIds(source: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, undefined> {
  for await (const batch of decodePayloadIdBatches(source)) yield* batch
}

/** Reads the IDs of a `payload-ids` object in batches of up to 1,024. Throws as `decodePayloadIds` does. */
export async function* decodePayloadIdBatches(source: AsyncIterable<Uint8Array>): AsyncGenerator<readonly string[], void, undefined> {
  for await (const list of decodePayloadIdLists(source)) yield idsOf(list)
}

/** Checks a `payload-ids` object and counts its IDs. Throws as `decodePayloadIds` does. */
export async function countPayloadIds(source: AsyncIterable<Uint8Array>): Promise<number> {
  let count = 0
  for await (const list of decodePayloadIdLists(source)) count += list.count
  return count
}

/** Reads the IDs of a `payload-ids` object as lists. Gives way to the event loop between some blocks. Throws as `decodePayloadIds` does. */
export async function* decodePayloadIdLists(source: AsyncIterable<Uint8Array>): IdLists {
  const decoder = new BlockDecoder()
  let turnIds = 0
  for await (const chunk of source) {
    for (const list of decoder.decode(chunk)) {
      yield list
      turnIds += list.count
      if (turnIds < TURN_IDS) continue
      turnIds = 0
      await setImmediate()
    }
  }
  decoder.end()
}
