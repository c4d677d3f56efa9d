/** Garbage collection of payloads. Nothing else deletes a payload. */
import { setImmediate } from 'node:timers/promises'
import { checkNumber } from '../../util/check-number.ts'
import { BOOLEAN, FUNCTION, NUMBER, type OptionKinds, SIGNAL, checkOptions, listOf, optional } from '../../util/check-options.ts'
import { listener } from '../../util/listener.ts'
import { afterwards } from '../../errors/clean-up.ts'
import { InternalError } from '../../errors/errors.ts'
import { PAYLOAD_STORE, REFERENCES } from '../../contracts/kinds.ts'
import { MAX_PAYLOADS_PER_CALL, type PayloadReferences, type PayloadStore, type StoredPayload, type Tally } from '../../contracts/payload-store.ts'
import type { HeldBy } from '../holds/held-cursor.ts'
import type { Holder, LeaseHolder } from '../holds/hold-source.ts'
import { HOLDS, type Holds } from '../holds/holds.ts'
import { IdPage } from '../holds/id-page.ts'
import type { ReconcileReport, SweepSession } from '../leases/leases.ts'
import { MarkFinder } from './mark-finder.ts'
import type { Mark, SweepState } from '../sweep-state.ts'
import { SweepViews } from './sweep-views.ts'

export interface SweepPayloadsOptions {
  readonly payloads: PayloadStore
  /** Every store that refers to these payloads. */
  readonly stores: readonly PayloadReferences[]
  readonly holds: Holds
  /**
   * How long a payload must have been unneeded before it is deleted: longer than a writer takes from writing a payload to referring to it.
   */
  readonly minAgeMs: number
  /** Only reports what would be done. Nothing is written, not even marks. @default false */
  readonly dryRun?: boolean | undefined
  /** Stops the sweep, which rejects with the signal's reason. The next sweep continues where marking was stopped. */
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: SweepPayloadsProgress) => void) | undefined
}

const OPTIONS: OptionKinds<SweepPayloadsOptions> = {
  payloads: PAYLOAD_STORE,
  stores: listOf(REFERENCES, 'stores'),
  holds: HOLDS,
  minAgeMs: NUMBER,
  dryRun: optional(BOOLEAN),
  signal: optional(SIGNAL),
  onProgress: optional(FUNCTION),
}

export interface SweepPayloadsProgress {
  readonly phase: 'mark' | 'delete'
  readonly payloads: number
}

export interface SweepPayloadsReport {
  readonly dryRun: boolean
  /** Payloads looked at: not all of them if this sweep continued a stopped one. */
  readonly listed: Tally
  /** Kept because a store refers to them. */
  readonly live: Tally
  /** Kept because only a hold needs them. */
  readonly held: Tally
  /** How many of the held payloads each holder needs, and how many only that holder needs. */
  readonly heldBy: readonly HeldBy[]
  /** Kept because they have not been unneeded for long enough. */
  readonly waiting: Tally
  /** Deleted; or, in a dry run, what would be. */
  readonly deleted: Tally
  /** Kept at the second look: needed, written or held again by then. */
  readonly spared: Tally
  /** Backups and leases that hold payloads. */
  readonly holders: readonly Holder[]
  /** The holder that has held for longest. */
  readonly oldestHold: Holder | undefined
  /** Leases that hold everything: nothing was deleted because of them. */
  readonly heldOff: readonly LeaseHolder[]
  /** Leases whose owners are gone or cannot be asked. */
  readonly leases: ReconcileReport
  readonly durationMs: number
}

/**
 * Deletes the payloads that nothing needs.
 *
 * A payload is deleted only if
 * - a sweep marked it: no store referred to it and nothing held it;
 * - `minAgeMs` have passed since, by a clock that never steps;
 * - it was not written or renewed meanwhile;
 * - at a second look, still no store refers to it and nothing holds it.
 *
 * So the first sweep marks, and a sweep `minAgeMs` later deletes. With 0 one sweep does both.
 *
 * Backups, restores, deletions of backups, and writers as `PayloadStore` says may run meanwhile. Stopping a sweep loses nothing.
 *
 * Rejects with `hold_unavailable`, having deleted nothing since all holds and stores could last be read;
 * with `sweep_already_running`, `catalog_unavailable`, what the payload store rejects with, and the signal's reason.
 */
export async function sweepPayloads(options: SweepPayloadsOptions): Promise<SweepPayloadsReport> {
  checkOptions('sweepPayloads', options, OPTIONS)
  const { holds, minAgeMs, dryRun = false, signal } = options
  checkNumber('minAgeMs', minAgeMs, { least: 0, most: Infinity })
  signal?.throwIfAborted()
  const startedMs = performance.now()
  const leases = dryRun ? { released: [], suspected: [], unproven: [] } : await holds.leases.reconcile()
  const session = dryRun ? undefined : await holds.leases.beginSweep()
  const sweep = new Sweep({ ...options, onProgress: listener(options.onProgress) }, session)
  await afterwards(() => sweep.run(), () => session?.end(), { left: 'the end of the sweep could not be recorded' })
  return { ...sweep.report(), dryRun, leases, durationMs: performance.now() - startedMs }
}

/** Payloads between two turns of the event loop. */
const TURN_PAYLOADS = 16_384

/** Payload IDs and versions. */
const WORD = /^[\x21-\x7e]{1,255}$/

async function* none(): AsyncGenerator<readonly Mark[], void, undefined> {}
const NO_MARKS: AsyncIterable<readonly Mark[]> = { [Symbol.asyncIterator]: none }

class Count implements Tally {
  payloads = 0
  bytes = 0

  add({ bytes }: { readonly bytes: number }): void {
    this.payloads += 1
    this.bytes += bytes
  }
}

class Sweep {
  readonly #options: SweepPayloadsOptions
  /** `undefined` in a dry run. */
  readonly #session: SweepSession | undefined
  readonly #state: SweepState
  #views: SweepViews | undefined
  #holders: readonly Holder[] = []
  #heldBy: readonly HeldBy[] = []
  #heldOff: readonly LeaseHolder[] = []
  readonly #counts = { listed: new Count(), live: new Count(), held: new Count(), waiting: new Count(), deleted: new Count(), spared: new Count() }

  constructor(options: SweepPayloadsOptions, session: SweepSession | undefined) {
    this.#options = options
    this.#session = session
    this.#state = options.holds.stateOf(options.payloads.url)
  }

  async run(): Promise<void> {
    try {
      const views = await this.#openViews()
      if (views === undefined) return
      await this.#mark(views)
      this.#heldBy = views.heldBy()
      await this.#closeViews()
      if (this.#session !== undefined) await this.#deleteMarked(this.#session)
    } finally {
      await this.#closeViews()
    }
  }

  report(): Omit<SweepPayloadsReport, 'dryRun' | 'leases' | 'durationMs'> {
    const { listed, live, held, waiting, deleted, spared } = this.#counts
    const holders = this.#holders
    const oldestHold = holders.toSorted((left, right) => (left.since < right.since ? -1 : 1))[0]
    return { listed, live, held, heldBy: this.#heldBy, waiting, deleted, spared, holders, oldestHold, heldOff: this.#heldOff }
  }

  /** Lists all payloads and marks those that nothing needs. Older marks on them stay. */
  async #mark(views: SweepViews): Promise<void> {
    const { epoch } = this.#options.holds.steadyClock
    const progress = await this.#state.progress()
    const isSame = progress?.epoch === epoch
    const finder = new MarkFinder(isSame ? this.#state.marks() : NO_MARKS, isSame ? progress.after : undefined)
    try {
      const marks = this.#marks(views, finder)
      if (this.#session === undefined) for await (const _ of marks);
      else await this.#state.replace(marks, () => ({ epoch, after: finder.after }))
    } finally {
      await finder.close()
    }
    this.#options.signal?.throwIfAborted()
  }

  /** Yields the marks of all payloads. After an abort: the new marks up to there, then the older marks. */
  async *#marks(views: SweepViews, finder: MarkFinder): AsyncGenerator<readonly Mark[], void, undefined> {
    const { payloads, signal, onProgress } = this.#options
    const { listed } = this.#counts
    yield* finder.before()
    let turn = 0
    try {
      for await (const page of payloads.list({ after: finder.after, signal })) {
        // Nothing is deleted here, so a new lease need not wait for the end of the list.
        const [, marks] = await Promise.all([this.#session?.generation(), this.#marksOf(page, views, finder)])
        if (marks.length > 0) yield marks
        onProgress?.({ phase: 'mark', payloads: listed.payloads })
        if (listed.payloads - turn >= TURN_PAYLOADS) await setImmediate()
        if (listed.payloads - turn >= TURN_PAYLOADS) turn = listed.payloads
        if (signal?.aborted === true) break
      }
    } catch (error) {
      if (signal?.aborted !== true) throw error
    }
    if (signal?.aborted === true) yield* finder.rest()
    else finder.after = undefined
  }

  async #marksOf(page: readonly StoredPayload[], views: SweepViews, finder: MarkFinder): Promise<readonly Mark[]> {
    const { minAgeMs, holds } = this.#options
    const nowMs = holds.steadyClock.nowMs()
    const ids = IdPage.of(page.map(({ payloadId }) => payloadId))
    const wrong = ids.disorderAfter(finder.after)
    if (wrong !== -1) {
      const before = ids.payloadIds[wrong - 1] ?? finder.after
      throw new InternalError(`Cannot sweep: the payload store lists ${JSON.stringify(ids.payloadIds[wrong])} after ${JSON.stringify(before)}`)
    }
    await views.find(ids)
    const marks: Mark[] = []
    for (const payload of this.#unneeded(page, views)) {
      const { payloadId, version, ageMs = minAgeMs } = payload
      if (!WORD.test(payloadId) || !WORD.test(version)) {
        throw new InternalError(`Cannot sweep: the payload store lists ${JSON.stringify(payload)}, whose ID or version is malformed`)
      }
      // A negative age means that the clock of the store was set back; ignore such an age.
      const isYoung = ageMs >= 0 && ageMs < minAgeMs
      const mark = await finder.markOf(payload, nowMs)
      if (!isYoung) marks.push(mark)
      if (isYoung || nowMs - mark.markedAtMs < minAgeMs) this.#counts.waiting.add(payload)
      else if (this.#session === undefined) this.#counts.deleted.add(payload)
    }
    finder.after = ids.payloadIds.at(-1) ?? finder.after
    return marks
  }

  /** Counts the payloads of a page that was looked up, and returns those that nothing needs. */
  #unneeded(page: readonly StoredPayload[], views: SweepViews): readonly StoredPayload[] {
    const { listed, live, held } = this.#counts
    const unneeded: StoredPayload[] = []
    for (const [index, payload] of page.entries()) {
      listed.add(payload)
      const need = views.needOf(index)
      if (need === undefined) unneeded.push(payload)
      else if (need === 'live') live.add(payload)
      else {
        held.add(payload)
        views.countHeld(index, payload.bytes)
      }
    }
    return unneeded
  }

  /** Deletes payloads that were marked long enough ago and that still nothing needs. */
  async #deleteMarked(session: SweepSession): Promise<void> {
    const { minAgeMs, holds } = this.#options
    // Take the time before looking at the stores: a payload marked `minAgeMs` before it is referred to by now, or never will be.
    // This look does not cover marks that reach `minAgeMs` later.
    const nowMs = holds.steadyClock.nowMs()
    for await (const marks of this.#state.marks()) {
      const ripe = marks.filter(({ markedAtMs }) => nowMs - markedAtMs >= minAgeMs)
      for (let from = 0; from < ripe.length; from += MAX_PAYLOADS_PER_CALL) {
        const isHeldOff = !(await this.#deleteBatch(ripe.slice(from, from + MAX_PAYLOADS_PER_CALL), session))
        if (isHeldOff) return
      }
    }
  }

  /** Deletes one batch. Resolves with false when a lease holds everything. */
  async #deleteBatch(batch: readonly Mark[], session: SweepSession): Promise<boolean> {
    const { payloads, signal, onProgress } = this.#options
    const { deleted, spared } = this.#counts
    for (;;) {
      signal?.throwIfAborted()
      const views = this.#views ?? (await this.#openViews())
      if (views === undefined) return false
      const useless: StoredPayload[] = []
      await views.find(IdPage.of(batch.map(({ payloadId }) => payloadId)))
      for (const [index, { payloadId, version, bytes }] of batch.entries()) {
        if (views.needOf(index) === undefined) useless.push({ payloadId, version, bytes, ageMs: undefined })
      }
      // Ask last, right before the deletion: a hold made after this waits until the generation is asked for again.
      if ((await session.generation()) !== views.generation) {
        await this.#closeViews()
        continue
      }
      const gone = new Set(useless.length === 0 ? [] : await payloads.deleteUnchanged(useless, { signal }))
      for (const mark of batch) (gone.has(mark.payloadId) ? deleted : spared).add(mark)
      onProgress?.({ phase: 'delete', payloads: deleted.payloads })
      return true
    }
  }

  /** Opens views of the holds and stores as they are now; `undefined` when a lease holds everything. */
  async #openViews(): Promise<SweepViews | undefined> {
    const { holds, stores, signal } = this.#options
    // Keep answering new leases while holds are read, which may take long: nothing is decided meanwhile.
    const onTurn = async (): Promise<void> => void (await this.#session?.generation())
    const generation = (await this.#session?.generation()) ?? 0
    const recordFor = this.#session === undefined ? undefined : new Set(stores.map(({ storeId }) => storeId))
    const views = await SweepViews.open(holds, stores, { generation, signal, onTurn, recordFor })
    if (views instanceof SweepViews) {
      this.#holders = views.holders
      this.#views = views
      return views
    }
    this.#holders = views
    this.#heldOff = views
    return undefined
  }

  async #closeViews(): Promise<void> {
    const views = this.#views
    this.#views = undefined
    await views?.close()
  }
}
