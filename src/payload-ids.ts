/**
 * Sets of payload IDs that may be larger than memory: built from IDs in any order, kept encoded, in memory while small and
 * in an unlinked temporary file beyond, read in ascending order.
 *
 * A payload ID is 1 to 255 characters of printable ASCII, no space.
 */
import { createHash } from 'node:crypto'
import { PAYLOAD_IDS_PREAMBLE, type RestartPoint, PayloadIdDecoder, PayloadIdEncoder, decodePayloadIdBatches } from './payload-ids/codec.ts'
import { mergeRuns } from './payload-ids/merge.ts'
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

/** IDs that are sorted at once; a few milliseconds of work. */
const RUN_IDS = 32 * 1024
const DEFAULT_MEMORY_LIMIT_BYTES: number = 8 * 1024 * 1024

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
    for await (const chunk of this.#encoded.read(from, end)) {
      if (decoder.decode(chunk).includes(payloadId)) return true
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
 * sorted in runs, which `finish` merges.
 */
export class PayloadIdSetBuilder {
  readonly #options: Required<{ [Name in keyof PayloadIdSetOptions]: PayloadIdSetOptions[Name] }>
  readonly #runs: Run[] = []
  #spill: Spill
  #pending: string[] = []
  #last = ''
  #ascending = true

  constructor({ spillDirectory, memoryLimitBytes = DEFAULT_MEMORY_LIMIT_BYTES }: PayloadIdSetOptions = {}) {
    this.#options = { spillDirectory, memoryLimitBytes }
    this.#spill = new Spill(this.#options)
  }

  /** Adds one valid payload ID; one that is there already is fine. Throws what the file system throws when the set must spill and cannot. */
  add(payloadId: string): void {
    if (payloadId === this.#last) return
    if (payloadId < this.#last) this.#ascending = false
    this.#last = payloadId
    this.#pending.push(payloadId)
    if (this.#pending.length === RUN_IDS) this.#endRun()
  }

  /** The set of all that was added. The builder is used up. */
  async finish(): Promise<PayloadIdSet> {
    this.#endRun()
    const last = this.#runs.at(-1)
    if (this.#runs.length <= 1) return await this.#finishRun(last ?? new Run(this.#spill), this.#spill)
    // The runs are read from one spill while the set is written to another.
    const merged = new Spill(this.#options)
    try {
      const run = new Run(merged)
      for (const run of this.#runs) run.end()
      for await (const batch of mergeRuns(this.#runs.map((run) => run.batches()))) run.add(batch)
      return await this.#finishRun(run, merged)
    } catch (error) {
      await merged.close()
      throw error
    } finally {
      await this.#spill.close()
    }
  }

  /** Frees everything when the set is not wanted. Idempotent; not needed after `finish`. */
  async close(): Promise<void> {
    await this.#spill.close()
  }

  async #finishRun(run: Run, spill: Spill): Promise<PayloadIdSet> {
    run.end()
    const { count, digest, restarts } = run.summary()
    return PayloadIdSet.from({ size: count, digest, restarts, encoded: spill.detach() })
  }

  #endRun(): void {
    const pending = this.#pending
    const first = pending[0]
    if (first === undefined) return
    this.#pending = []
    if (!this.#ascending) flatten(pending).sort(byCode)
    this.#ascending = true
    const run = this.#runs.at(-1)
    const smallest = pending[0] ?? ''
    // What begins where the last run ended makes that run longer: a set that came in order is one run.
    if (run !== undefined && smallest > run.last) run.add(pending)
    else this.#runs.push(this.#newRun(pending))
    this.#last = pending.at(-1) ?? ''
  }

  #newRun(payloadIds: readonly string[]): Run {
    this.#runs.at(-1)?.end()
    const run = new Run(this.#spill)
    run.add(payloadIds)
    return run
  }
}

/** IDs in ascending order, encoded at the end of a spill; the last run of a spill may still grow. */
class Run {
  last = ''
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

  /** Adds IDs in ascending order, passing over repeated ones. */
  add(payloadIds: readonly string[]): void {
    const added: string[] = []
    for (const payloadId of payloadIds) {
      if (payloadId === this.last) continue
      this.#encoder.add(payloadId)
      added.push(payloadId)
      this.last = payloadId
    }
    if (added.length === 0) return
    this.#hash.update(`${added.join('\n')}\n`, 'latin1')
    this.#spill.append(this.#encoder.take())
  }

  end(): void {
    this.#end ??= this.#spill.bytes
  }

  batches(): AsyncGenerator<readonly string[], void, undefined> {
    return decodePayloadIdBatches(this.#spill.read(this.#from, this.#end))
  }

  summary(): { readonly count: number; readonly digest: string; readonly restarts: readonly RestartPoint[] } {
    const base = this.#from + PAYLOAD_IDS_PREAMBLE.byteLength
    const restarts = this.#encoder.restarts.map(({ position, payloadId }) => ({ position: base + position, payloadId }))
    return { count: this.#encoder.count, digest: this.#hash.digest('hex'), restarts }
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

/** Replaces texts that are parts of larger ones by copies, which take less memory and are compared several times as fast. */
function flatten(payloadIds: string[]): string[] {
  const bytes = Buffer.from(payloadIds.join(''), 'latin1')
  let position = 0
  for (const [index, { length }] of payloadIds.entries()) {
    payloadIds[index] = bytes.toString('latin1', position, position + length)
    position += length
  }
  return payloadIds
}

/** Payload IDs are ASCII: comparing code units compares bytes. */
function byCode(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0
}
