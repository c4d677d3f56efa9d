/**
 * Sets of payload IDs that may be larger than memory: built from IDs in any order, kept encoded, in memory while small and
 * in an unlinked temporary file beyond, read in ascending order.
 *
 * A payload ID is 1 to 255 characters of printable ASCII, no space.
 */
import { createHash } from 'node:crypto'
import { PAYLOAD_IDS_PREAMBLE, type RestartPoint, PayloadIdDecoder, PayloadIdEncoder, decodePayloadIdBatches } from './payload-ids/codec.ts'
import { mergeRuns } from './payload-ids/merge.ts'
import { MAX_SORTED_LINES, sortLines } from './payload-ids/sort-lines.ts'
import { Spill, type SpillState } from './payload-ids/spill.ts'

export { checkPayloadId } from './payload-ids/codec.ts'

export interface PayloadIdSetOptions {
  /** Where a set that outgrows its memory goes. The file has no name: it is gone when the process is. @default the system's directory for temporary files */
  readonly spillDirectory?: string | undefined
  /** Encoded bytes kept in memory before that. @default 8 MiB */
  readonly memoryLimitBytes?: number | undefined
}

/** A set as plain data, to be sent to another thread; it belongs to whoever makes a set of it with `PayloadIdSet.from`. */
export interface PayloadIdSetState {
  readonly size: number
  readonly digest: string
  readonly restarts: readonly RestartPoint[]
  readonly encoded: SpillState
}

const DEFAULT_MEMORY_LIMIT_BYTES: number = 8 * 1024 * 1024
/** What is sorted and encoded at once, also bounded by `MAX_SORTED_LINES`; some ten milliseconds of work. */
const MAX_RUN_BYTES: number = 4 * 1024 * 1024
const MIN_LINES_BYTES = 4096
/** How many runs are merged at once, and how much of each is read at a time: 8 MiB. */
const MERGED_RUNS = 256
const MERGE_READ_BYTES: number = 32 * 1024
const LINE_FEED = 0x0a

/** Some payload IDs, each once, in ascending order of their bytes. Close it: it may hold a file open. */
export class PayloadIdSet implements AsyncIterable<string>, AsyncDisposable {
  /** How many IDs. */
  readonly size: number
  /** SHA-256 over the IDs in ascending order, each followed by a line feed; lower-case hex. */
  readonly digest: string
  readonly #restarts: readonly RestartPoint[]
  readonly #encoded: Spill

  private constructor(state: Omit<PayloadIdSetState, 'encoded'>, encoded: Spill) {
    this.size = state.size
    this.digest = state.digest
    this.#restarts = state.restarts
    this.#encoded = encoded
  }

  /** Takes over a set that was detached, in this thread or another. */
  static from(state: PayloadIdSetState): PayloadIdSet {
    return new PayloadIdSet(state, Spill.from(state.encoded))
  }

  /** Gives the set up as plain data; it must not be used, nor closed, afterwards. */
  detach(): PayloadIdSetState {
    return { size: this.size, digest: this.digest, restarts: this.#restarts, encoded: this.#encoded.detach() }
  }

  /** The IDs in ascending order. May run several times, also at once. */
  async *[Symbol.asyncIterator](): AsyncGenerator<string, void, undefined> {
    for await (const batch of this.batches()) yield* batch
  }

  /** The IDs in ascending order, many at a time: several times as fast. */
  batches(): AsyncGenerator<readonly string[], void, undefined> {
    return decodePayloadIdBatches(this.encoded())
  }

  /** The bytes of the `payload-ids` object. */
  encoded(): AsyncIterable<Uint8Array> {
    return this.#encoded.read(0)
  }

  /** Whether an ID is in the set: one read of at most 1,024 entries. */
  async has(payloadId: string): Promise<boolean> {
    const restart = this.#restartBefore(payloadId)
    if (restart === undefined) return false
    const [from, end] = restart
    const decoder = new PayloadIdDecoder({ headless: true })
    for await (const chunk of this.#encoded.read(from, { end })) {
      for (const batch of decoder.decode(chunk)) if (batch.includes(payloadId)) return true
    }
    return false
  }

  /** Frees the memory and the file. Idempotent. */
  async close(): Promise<void> {
    await this.#encoded.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #restartBefore(payloadId: string): readonly [from: number, end: number | undefined] | undefined {
    let low = 0
    let high = this.#restarts.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#restarts[middle]?.payloadId ?? '') <= payloadId) low = middle + 1
      else high = middle
    }
    const restart = this.#restarts[low - 1]
    return restart && [restart.position, this.#restarts[low]?.position]
  }
}

/**
 * Gathers payload IDs into a set. IDs that come in ascending order cost the least: they are encoded as they come. Others are
 * sorted in runs, which `finish` merges. Holds bytes, never the strings it was given, which may be slices of larger ones.
 */
export class PayloadIdSetBuilder {
  readonly #options: Required<{ [Name in keyof PayloadIdSetOptions]: PayloadIdSetOptions[Name] }>
  readonly #runBytes: number
  #runs: Run[] = []
  #spill: Spill
  /** IDs that are in no run yet, each with a line feed. */
  #lines: Buffer = Buffer.alloc(0)
  #used = 0
  #count = 0
  #last = ''
  #ascending = true

  constructor({ spillDirectory, memoryLimitBytes = DEFAULT_MEMORY_LIMIT_BYTES }: PayloadIdSetOptions = {}) {
    this.#options = { spillDirectory, memoryLimitBytes }
    this.#runBytes = Math.min(MAX_RUN_BYTES, memoryLimitBytes / 2)
    this.#spill = new Spill(this.#options)
  }

  /**
   * Adds one valid payload ID (`checkPayloadId`); one that is there already is fine. Throws `destination_no_space` or `internal` when
   * the set must spill and cannot.
   */
  add(payloadId: string): void {
    if (payloadId === this.#last) return
    if (payloadId < this.#last) this.#ascending = false
    this.#last = payloadId
    if (this.#used + payloadId.length >= this.#lines.byteLength) this.#grow()
    this.#used += this.#lines.write(payloadId, this.#used, 'latin1')
    this.#lines[this.#used++] = LINE_FEED
    if (++this.#count === MAX_SORTED_LINES || this.#used > this.#runBytes) this.#endRun()
  }

  /** Adds valid payload IDs in strictly ascending order, each ended by a line feed. Much the fastest way; neither is checked here. Throws as `add` does. */
  addLines(lines: Buffer): void {
    if (lines.byteLength === 0) return
    this.#endRun()
    this.#addRun(lines)
  }

  /** The set of all that was added. The builder is used up. */
  async finish(): Promise<PayloadIdSet> {
    this.#endRun()
    while (this.#runs.length > 1) await this.#mergeOnce()
    const run = this.#runs[0] ?? new Run(this.#spill)
    return PayloadIdSet.from({ ...run.summary(), encoded: this.#spill.detach() })
  }

  /** Frees everything when the set is not wanted. Idempotent; not needed after `finish`. */
  async close(): Promise<void> {
    await this.#spill.close()
  }

  /** Merges runs, a bounded number at a time, from one spill into another. */
  async #mergeOnce(): Promise<void> {
    const spill = new Spill(this.#options)
    const runs: Run[] = []
    try {
      for (let from = 0; from < this.#runs.length; from += MERGED_RUNS) {
        const merged = new Run(spill)
        for await (const lines of mergeRuns(this.#runs.slice(from, from + MERGED_RUNS).map((run) => run.batches()))) merged.add(lines)
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

  #endRun(): void {
    if (this.#used === 0) return
    const pending = this.#lines.subarray(0, this.#used)
    this.#addRun(this.#ascending ? pending : sortLines(pending))
    this.#used = 0
    this.#count = 0
    this.#ascending = true
  }

  #addRun(lines: Buffer): void {
    const run = this.#runs.at(-1)
    // What begins where the last run ended makes that run longer: a set that came in order is one run.
    if (run !== undefined && lines.compare(run.last) > 0) run.add(lines)
    else this.#newRun().add(lines)
    this.#last = this.#runs.at(-1)?.last.toString('latin1').trimEnd() ?? ''
  }

  #newRun(): Run {
    this.#runs.at(-1)?.end()
    const run = new Run(this.#spill)
    this.#runs.push(run)
    return run
  }

  #grow(): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(MIN_LINES_BYTES, 2 * this.#lines.byteLength))
    this.#lines.copy(larger, 0, 0, this.#used)
    this.#lines = larger
  }
}

/** IDs in ascending order, encoded at the end of a spill; the last run of a spill may still grow. */
class Run {
  readonly #spill: Spill
  readonly #from: number
  readonly #encoder = new PayloadIdEncoder()
  readonly #hash = createHash('sha256')
  #end: number | undefined

  constructor(spill: Spill) {
    this.#spill = spill
    this.#from = spill.bytes
    spill.append(PAYLOAD_IDS_PREAMBLE)
  }

  /** The last ID and its line feed. */
  get last(): Buffer {
    return this.#encoder.last
  }

  /** Adds lines, each greater than the one before. */
  add(lines: Buffer): void {
    this.#hash.update(lines)
    this.#spill.append(this.#encoder.encode(lines))
  }

  end(): void {
    this.#end = this.#spill.bytes
  }

  batches(): AsyncGenerator<readonly string[], void, undefined> {
    return decodePayloadIdBatches(this.#spill.read(this.#from, { end: this.#end, readBytes: MERGE_READ_BYTES }))
  }

  summary(): Omit<PayloadIdSetState, 'encoded'> {
    const base = this.#from + PAYLOAD_IDS_PREAMBLE.byteLength
    const restarts = this.#encoder.restarts.map(({ position, payloadId }) => ({ position: base + position, payloadId }))
    return { size: this.#encoder.count, digest: this.#hash.digest('hex'), restarts }
  }
}

/** The set without an ID. */
export async function emptyPayloadIdSet(): Promise<PayloadIdSet> {
  return await new PayloadIdSetBuilder().finish()
}

/** The IDs of a `payload-ids` object. Throws `restore_corrupt` with the byte offset when it is damaged. */
export async function* decodePayloadIds(source: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, undefined> {
  for await (const batch of decodePayloadIdBatches(source)) yield* batch
}
