/**
 * Leases: promises that payloads stay while a backup or a restore needs them and no published manifest says so yet.
 *
 * A lease is in the catalog, durable, before the work begins that it protects. At first everything is held; then, when the set is
 * known, that set alone. It is released by its owner, or by `reconcile` once the owner is proven to be gone: never by time.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { newUlid } from '../../util/ulid.ts'
import type { Catalog } from '../../contracts/catalog.ts'
import type { Lease, LeaseEnd, LeasePurpose, RunningSweep } from '../../contracts/hold-events.ts'
import { hasEnded, type JobOwner, markUnderWay, thisProcess } from '../../util/job-owner.ts'
import { checkNumber, checkWaitMs } from '../../util/check-number.ts'
import { failureAfter } from '../../errors/clean-up.ts'
import { HoldUnavailableError, InvalidArgumentError, SweepAlreadyRunningError } from '../../errors/errors.ts'
import type { PayloadIdSet } from '../../payload-ids/payload-id-set.ts'
import type { PayloadIdsCache } from './payload-ids-cache.ts'
import { steadyClock, type SteadyClock } from '../../util/steady-clock.ts'

export interface LeasesOptions {
  readonly catalog: Catalog
  /** Where the set of a narrowed lease is kept; without one, a lease holds everything until it is released. */
  readonly cache?: PayloadIdsCache | undefined
  /** How long a running sweep may take to answer a new lease. @default 30,000 */
  readonly acknowledgeTimeoutMs?: number | undefined
  /** The time in milliseconds since 1970; only for records. @default Date.now */
  readonly clock?: (() => number) | undefined
  /** A clock that never steps. @default steadyClock() */
  readonly steadyClock?: SteadyClock | undefined
  /**
   * How long the owner of a lease must have been gone before it is released: longer than a request that it sent may still take at a
   * destination. @default 60,000
   */
  readonly settleMs?: number | undefined
  /** Waits between two looks at what a sweep answered. @default a timer of 20 ms */
  readonly pause?: (() => Promise<void>) | undefined
  /** The running process, and whether another has ended. @default this one, as the system tells */
  readonly process?: ProcessProof | undefined
}

/** How owners are told apart. */
export interface ProcessProof {
  owner(): JobOwner
  /** Marks the work of an ID as under way in this process, until the returned function is called. */
  markUnderWay(id: string): () => void
  /** Whether the work of an ID is proven to have ended; `undefined` where it cannot be told. */
  hasEnded(id: string, owner: JobOwner): boolean | undefined
}

export interface ProtectOptions {
  readonly purpose: LeasePurpose
  /** @default any store */
  readonly storeId?: string | undefined
  readonly backupId?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/** A lease in the hands of its owner. */
export interface HeldLease {
  readonly leaseId: string
  /** From now on only these payloads are held; nothing changes where sets are not kept. The set stays the caller's. */
  narrow(payloadIds: PayloadIdSet): Promise<void>
  /** Ends the lease. Call it when what it holds is held otherwise, or no longer needed. Idempotent. A failure leaves it to `reconcile`. */
  release(why: LeaseEnd): Promise<void>
  /** Leaves the lease to `reconcile`, which releases it when nothing that was sent can be under way any more. */
  abandon(): void
}

export interface ReconcileReport {
  /** Their owners were proven to be gone, for the second time and long enough after the first. */
  readonly released: readonly Lease[]
  /** Their owners were found to be gone. */
  readonly suspected: readonly Lease[]
  /** Of owners that may be alive but cannot be asked, such as those of another machine: worth an alarm when they are old. */
  readonly unproven: readonly Lease[]
}

const ACKNOWLEDGE_TIMEOUT_MS = 30_000
const PAUSE_MS = 20
const SETTLE_MS = 60_000

const SYSTEM: ProcessProof = { owner: thisProcess, markUnderWay, hasEnded }

/** The leases of a catalog, and the sweeps that they hold off. */
export class Leases {
  readonly catalog: Catalog
  readonly #cache: PayloadIdsCache | undefined
  readonly #acknowledgeTimeoutMs: number
  readonly #clock: () => number
  readonly #steadyClock: SteadyClock
  readonly #settleMs: number
  readonly #pause: () => Promise<void>
  readonly #process: ProcessProof

  constructor(options: LeasesOptions) {
    this.catalog = options.catalog
    this.#cache = options.cache
    this.#acknowledgeTimeoutMs = checkWaitMs('acknowledgeTimeoutMs', options.acknowledgeTimeoutMs ?? ACKNOWLEDGE_TIMEOUT_MS)
    this.#clock = options.clock ?? Date.now
    this.#steadyClock = options.steadyClock ?? steadyClock()
    this.#settleMs = checkNumber('settleMs', options.settleMs ?? SETTLE_MS, { least: 0, most: Infinity })
    this.#pause = options.pause ?? (() => delay(PAUSE_MS))
    this.#process = options.process ?? SYSTEM
  }

  /**
   * Takes a lease on all that a store refers to. Resolves when it is durable and no running sweep decides by older holds any more.
   *
   * Rejects with `catalog_unavailable`, with `hold_unavailable` when a sweep does not answer in time, and with the signal's reason;
   * there is no lease then, or one that `reconcile` releases.
   */
  async protect({ purpose, storeId, backupId, signal }: ProtectOptions): Promise<HeldLease> {
    signal?.throwIfAborted()
    const leaseId = newUlid(this.#clock())
    const unmark = this.#process.markUnderWay(leaseId)
    const lease = new OwnLease(leaseId, { catalog: this.catalog, cache: this.#cache, now: () => this.#now(), unmark })
    try {
      await this.catalog.append({ type: 'lease-taken', at: this.#now(), leaseId, purpose, owner: this.#process.owner(), storeId, backupId })
      await this.#acknowledged(await this.catalog.holdGeneration(), signal)
      return lease
    } catch (error) {
      throw await releaseAfter(error, lease)
    }
  }

  /** Leases that were not released. */
  async live(): Promise<readonly Lease[]> {
    return await this.catalog.leases()
  }

  /**
   * Looks for leases whose owners are gone. One is released when that was proven twice, by two calls so far apart that nothing the owner
   * sent can be under way any more. Called before every backup, restore and sweep. Rejects with `catalog_unavailable`.
   */
  async reconcile(): Promise<ReconcileReport> {
    const report = { released: [] as Lease[], suspected: [] as Lease[], unproven: [] as Lease[] }
    for (const lease of await this.catalog.leases()) {
      const { leaseId, owner, suspicion } = lease
      const ended = this.#process.hasEnded(leaseId, owner)
      if (ended === undefined) report.unproven.push(lease)
      if (ended !== true) continue
      const { epoch } = this.#steadyClock
      const steadyMs = this.#steadyClock.nowMs()
      const isKnown = suspicion !== undefined && suspicion.epoch === epoch
      if (isKnown && steadyMs - suspicion.steadyMs >= this.#settleMs) {
        await this.catalog.append({ type: 'lease-released', at: this.#now(), leaseId, why: 'recovered' })
        report.released.push(lease)
      } else {
        if (!isKnown) await this.catalog.append({ type: 'lease-suspected', at: this.#now(), leaseId, epoch, steadyMs })
        report.suspected.push(lease)
      }
    }
    return report
  }

  /**
   * Releases a lease whose owner an operator knows to be gone, such as with its machine, where that cannot be proven; resolves with whether there was one. An
   * operator who is wrong loses payloads. Rejects with `invalid_argument` for a lease whose owner is proven to be alive, and with `catalog_unavailable`.
   */
  async releaseUnproven(leaseId: string): Promise<boolean> {
    const lease = (await this.catalog.leases()).find((live) => live.leaseId === leaseId)
    if (lease === undefined) return false
    if (this.#process.hasEnded(leaseId, lease.owner) === false) throw new InvalidArgumentError(`Cannot release lease ${leaseId}: its owner, process ${lease.owner.pid}, is at work`)
    await this.catalog.append({ type: 'lease-released', at: this.#now(), leaseId, why: 'told' })
    return true
  }

  /** Begins a sweep: from now on new leases wait for its answer. Rejects with `sweep_already_running`. */
  async beginSweep(): Promise<SweepSession> {
    const sweepId = newUlid(this.#clock())
    const unmark = this.#process.markUnderWay(sweepId)
    try {
      await this.#refuseOtherSweeps(sweepId)
      await this.catalog.append({ type: 'sweep-started', at: this.#now(), sweepId, owner: this.#process.owner() })
    } catch (error) {
      unmark()
      throw error
    }
    const session = new SweepSession(sweepId, { catalog: this.catalog, now: () => this.#now(), unmark })
    try {
      // Two that begin at the same time both look before either is there.
      await this.#refuseOtherSweeps(sweepId)
    } catch (error) {
      throw await failureAfter(error, () => session.end())
    }
    return session
  }

  async #refuseOtherSweeps(sweepId: string): Promise<void> {
    const other = (await this.catalog.sweeps()).find((sweep) => sweep.sweepId !== sweepId && this.#process.hasEnded(sweep.sweepId, sweep.owner) !== true)
    if (other === undefined) return
    throw new SweepAlreadyRunningError(`Cannot sweep: the sweep ${other.sweepId} is running`, { details: { sweepId: other.sweepId, owner: other.owner } })
  }

  async #acknowledged(generation: number, signal: AbortSignal | undefined): Promise<void> {
    const startedMs = this.#steadyClock.nowMs()
    for (;;) {
      signal?.throwIfAborted()
      const silent = (await this.catalog.sweeps()).filter((sweep) => !this.#hasAnswered(sweep, generation))
      if (silent.length === 0) return
      if (this.#steadyClock.nowMs() - startedMs > this.#acknowledgeTimeoutMs) {
        throw new HoldUnavailableError(`Cannot hold the payloads of the store: the sweep ${silent[0]?.sweepId} did not answer within ${this.#acknowledgeTimeoutMs} ms`, {
          hint: 'Stop the sweep, or give it time to end its batch, then try again',
          details: { sweepIds: silent.map(({ sweepId }) => sweepId) },
        })
      }
      await this.#pause()
    }
  }

  #hasAnswered({ sweepId, owner, acknowledged }: RunningSweep, generation: number): boolean {
    return acknowledged >= generation || this.#process.hasEnded(sweepId, owner) === true
  }

  #now(): string {
    return new Date(this.#clock()).toISOString()
  }
}

interface Recorder {
  readonly catalog: Catalog
  readonly now: () => string
  /** Says that the work is not under way any more. */
  readonly unmark: () => void
}

class OwnLease implements HeldLease {
  readonly leaseId: string
  readonly #recorder: Recorder & { readonly cache: PayloadIdsCache | undefined }
  #released = false

  constructor(leaseId: string, recorder: Recorder & { readonly cache: PayloadIdsCache | undefined }) {
    this.leaseId = leaseId
    this.#recorder = recorder
  }

  async narrow(payloadIds: PayloadIdSet): Promise<void> {
    const { catalog, cache, now } = this.#recorder
    if (cache === undefined) return
    const name = { count: payloadIds.size, bytes: payloadIds.bytes, sha256: payloadIds.digest }
    await cache.put(name, payloadIds.encoded())
    await catalog.append({ type: 'lease-narrowed', at: now(), leaseId: this.leaseId, payloadIds: name })
  }

  async release(why: LeaseEnd): Promise<void> {
    if (this.#released) return
    this.#released = true
    const { catalog, now, unmark } = this.#recorder
    try {
      await catalog.append({ type: 'lease-released', at: now(), leaseId: this.leaseId, why })
    } finally {
      unmark()
    }
  }

  abandon(): void {
    this.#recorder.unmark()
  }
}

/** A running sweep, as the owners of leases see it. */
export class SweepSession {
  readonly sweepId: string
  readonly #recorder: Recorder
  #acknowledged = -1

  constructor(sweepId: string, recorder: Recorder) {
    this.sweepId = sweepId
    this.#recorder = recorder
  }

  /** The generation of holds now; acknowledged when it is new, so call it only when no decision by older holds is under way. */
  async generation(): Promise<number> {
    const { catalog, now } = this.#recorder
    const generation = await catalog.holdGeneration()
    if (generation !== this.#acknowledged) await catalog.append({ type: 'sweep-acknowledged', at: now(), sweepId: this.sweepId, generation })
    this.#acknowledged = generation
    return generation
  }

  async end(): Promise<void> {
    const { catalog, now, unmark } = this.#recorder
    try {
      await catalog.append({ type: 'sweep-ended', at: now(), sweepId: this.sweepId })
    } finally {
      unmark()
    }
  }
}

/** Releases a lease after a failure, and returns the failure, or, when it could not be released, both. */
export async function releaseAfter(error: unknown, lease: HeldLease | undefined): Promise<unknown> {
  return await failureAfter(error, () => lease?.release('failed'), 'its hold on payloads could not be released, which a later backup or sweep does')
}

/** Releases a lease whose owner is gone for good, which an operator may know and nothing proves. Resolves with whether the catalog has it. */
export async function releaseLease(catalog: Catalog, leaseId: string): Promise<boolean> {
  return await new Leases({ catalog }).releaseUnproven(leaseId)
}

/** What should be known of a lease whose owner may be alive but cannot be asked. */
export function warnOfLease({ leaseId, purpose, owner, takenAt }: Lease): Error {
  return new HoldUnavailableError(`The lease ${leaseId} of a ${purpose}, taken ${takenAt}, holds payloads, and whether its owner on the machine "${owner.host}" is gone cannot be told here`, {
    hint: `If that machine, or container, is gone for good, say so: holdfast holds --release ${leaseId}`,
    details: { leaseId, owner },
  })
}
