/**
 * Leases: promises that payloads stay while a backup or a restore needs them and no published manifest says so yet.
 *
 * A lease is durable in the catalog before the work that it protects begins.
 * It holds everything at first, and only its set of payload IDs once that set is known.
 * Its owner releases it, or `reconcile` once the owner is proven to be gone. Time alone never does.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { newUlid } from '../../util/ulid.ts'
import type { Catalog } from '../../contracts/catalog.ts'
import type { Lease, LeaseEnd, LeasePurpose } from '../../contracts/hold-events.ts'
import { hasEnded, type JobOwner, markUnderWay, thisProcess } from '../../util/job-owner.ts'
import { checkNumber, checkWaitMs } from '../../util/check-number.ts'
import { failureAfter, undoOnError } from '../../errors/clean-up.ts'
import { HoldUnavailableError, InvalidArgumentError, SweepAlreadyRunningError } from '../../errors/errors.ts'
import type { PayloadIdSet } from '../../payload-ids/payload-id-set.ts'
import type { PayloadIdsCache } from './payload-ids-cache.ts'
import { steadyClock, type SteadyClock } from '../../util/steady-clock.ts'

export interface LeasesOptions {
  readonly catalog: Catalog
  /** Where the set of a narrowed lease is kept. Without a cache, a lease holds everything until it is released. */
  readonly cache?: PayloadIdsCache | undefined
  /** How long a running sweep may take to answer a new lease. @default 30,000 */
  readonly acknowledgeTimeoutMs?: number | undefined
  /** The time in milliseconds since 1970, for records only. @default Date.now */
  readonly clock?: (() => number) | undefined
  /** A clock that never steps. @default steadyClock() */
  readonly steadyClock?: SteadyClock | undefined
  /**
   * How long the owner of a lease must have been gone before the lease is released:
   * longer than a request of that owner may still take at a destination. @default 60,000
   */
  readonly settleMs?: number | undefined
  /** Waits between two looks at the answers of sweeps. @default a timer of 20 ms */
  readonly pause?: (() => Promise<void>) | undefined
  /** How this process is named, and how the end of another is proven. @default by the operating system */
  readonly process?: ProcessProof | undefined
}

/** Names the owner of work, and proves whether an owner is gone. */
export interface ProcessProof {
  owner(): JobOwner
  /** Marks the work of an ID as under way in this process, until the returned function is called. */
  markUnderWay(id: string): () => void
  /** Whether the work of an ID is proven to have ended; `undefined` where that cannot be proven either way. */
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
  /** Holds only these payloads from now on; does nothing where sets are not kept. The caller still closes the set. */
  narrow(payloadIds: PayloadIdSet): Promise<void>
  /**
   * Ends the lease, once its payloads are held otherwise or no longer needed. Idempotent. After a failure, `reconcile` releases the lease.
   */
  release(why: LeaseEnd): Promise<void>
  /** Leaves the lease to `reconcile`, which releases it when no request of this process can still be under way. */
  abandon(): void
}

export interface ReconcileReport {
  /** Leases whose owners were proven to be gone twice, `settleMs` apart. */
  readonly released: readonly Lease[]
  /** Leases whose owners were found to be gone. */
  readonly suspected: readonly Lease[]
  /** Leases whose owners may be alive but cannot be asked, such as those on another machine: worth an alarm when old. */
  readonly unproven: readonly Lease[]
}

const ACKNOWLEDGE_TIMEOUT_MS = 30_000
const PAUSE_MS = 20
const SETTLE_MS = 60_000

const SYSTEM: ProcessProof = { owner: thisProcess, markUnderWay, hasEnded }

/** The leases and sweeps of a catalog. */
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
   * Takes a lease on all that a store refers to. Resolves when the lease is durable and every running sweep knows of it.
   *
   * Rejects with `catalog_unavailable`, with `hold_unavailable` when a sweep does not answer in time, and with the signal's reason.
   * Then there is no lease, or one that `reconcile` releases.
   */
  async protect({ purpose, storeId, backupId, signal }: ProtectOptions): Promise<HeldLease> {
    signal?.throwIfAborted()
    const leaseId = newUlid(this.#clock())
    const unmark = this.#process.markUnderWay(leaseId)
    const lease = ownLease(leaseId, { catalog: this.catalog, cache: this.#cache, now: () => this.#now(), unmark })
    try {
      await this.catalog.append({ type: 'lease-taken', at: this.#now(), leaseId, purpose, owner: this.#process.owner(), storeId, backupId })
      await this.#acknowledged(await this.catalog.holdGeneration(), signal)
      return lease
    } catch (error) {
      throw await releaseAfter(error, lease)
    }
  }

  /**
   * Releases leases whose owners are gone: proven by two calls so far apart that no request of the owner can still be under way.
   * Called before every backup, restore and sweep. Rejects with `catalog_unavailable`.
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
   * Releases a lease whose owner cannot be proven to be gone but is known to be, such as with its machine. Resolves with whether there was
   * one. If the owner is alive after all, its backup may lose payloads. Rejects with `invalid_argument` for a lease whose owner is proven
   * to be alive, and with `catalog_unavailable`.
   */
  async releaseUnproven(leaseId: string): Promise<boolean> {
    const lease = (await this.catalog.leases()).find((live) => live.leaseId === leaseId)
    if (lease === undefined) return false
    if (this.#process.hasEnded(leaseId, lease.owner) === false) {
      throw new InvalidArgumentError(`Cannot release lease ${leaseId}: its owner, process ${lease.owner.pid}, is running`)
    }
    await this.catalog.append({ type: 'lease-released', at: this.#now(), leaseId, why: 'told' })
    return true
  }

  /** Begins a sweep. From now on new leases wait for its answer. Rejects with `sweep_already_running`. */
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
    // Two sweeps that begin at the same time may both find none at the first look.
    await undoOnError(() => this.#refuseOtherSweeps(sweepId), () => session.end())
    return session
  }

  async #refuseOtherSweeps(sweepId: string): Promise<void> {
    const other = (await this.catalog.sweeps()).find((sweep) => sweep.sweepId !== sweepId && this.#process.hasEnded(sweep.sweepId, sweep.owner) !== true)
    if (other === undefined) return
    throw new SweepAlreadyRunningError(`Cannot sweep: sweep ${other.sweepId} is running`, { details: { sweepId: other.sweepId, owner: other.owner } })
  }

  async #acknowledged(generation: number, signal: AbortSignal | undefined): Promise<void> {
    const startedMs = this.#steadyClock.nowMs()
    for (;;) {
      signal?.throwIfAborted()
      const silent = (await this.catalog.sweeps()).filter(({ sweepId, owner, acknowledged }) => acknowledged < generation && this.#process.hasEnded(sweepId, owner) !== true)
      if (silent.length === 0) return
      if (this.#steadyClock.nowMs() - startedMs > this.#acknowledgeTimeoutMs) {
        throw new HoldUnavailableError(`Cannot hold the payloads of the store: sweep ${silent[0]?.sweepId} did not answer within ${this.#acknowledgeTimeoutMs} ms`, {
          hint: 'Stop the sweep, or wait until its batch has ended, then try again',
          details: { sweepIds: silent.map(({ sweepId }) => sweepId) },
        })
      }
      await this.#pause()
    }
  }

  #now(): string {
    return new Date(this.#clock()).toISOString()
  }
}

interface Recorder {
  readonly catalog: Catalog
  readonly now: () => string
  readonly unmark: () => void
}

function ownLease(leaseId: string, { catalog, cache, now, unmark }: Recorder & { readonly cache: PayloadIdsCache | undefined }): HeldLease {
  let isReleased = false
  return {
    leaseId,
    async narrow(payloadIds) {
      if (cache === undefined) return
      const name = { count: payloadIds.size, bytes: payloadIds.bytes, sha256: payloadIds.digest }
      await cache.put(name, payloadIds.encoded())
      await catalog.append({ type: 'lease-narrowed', at: now(), leaseId, payloadIds: name })
    },
    async release(why) {
      if (isReleased) return
      isReleased = true
      try {
        await catalog.append({ type: 'lease-released', at: now(), leaseId, why })
      } finally {
        unmark()
      }
    },
    abandon: unmark,
  }
}

/** A running sweep and its answers to new leases. */
export class SweepSession {
  readonly sweepId: string
  readonly #recorder: Recorder
  #acknowledged = -1

  constructor(sweepId: string, recorder: Recorder) {
    this.sweepId = sweepId
    this.#recorder = recorder
  }

  /** Reads the generation of holds, and acknowledges a new one. Call it only when no decision by older holds is under way. */
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

/** Releases a lease after a failure. Returns that failure, with that of the release if there was one. */
export async function releaseAfter(error: unknown, lease: HeldLease | undefined): Promise<unknown> {
  return await failureAfter(error, () => lease?.release('failed'), 'its lease on payloads could not be released; a later backup or sweep releases it')
}

/** Releases a lease whose owner the operator knows to be gone, as `Leases.releaseUnproven` does. Resolves with whether there was one. */
export async function releaseLease(catalog: Catalog, leaseId: string): Promise<boolean> {
  return await new Leases({ catalog }).releaseUnproven(leaseId)
}

/** A warning about a lease whose owner may be alive but cannot be asked. */
export function warnOfLease({ leaseId, purpose, owner, takenAt }: Lease): Error {
  const wayOut = `If that machine or container is gone for good, run "holdfast holds --release ${leaseId} --from URL --store URL" (releaseLease)`
  // Of a warning, the message alone is shown.
  return new HoldUnavailableError(
    `Lease ${leaseId} of a ${purpose}, taken ${takenAt}, still holds payloads; its owner on machine "${owner.host}" cannot be asked from here. ${wayOut}`,
    { hint: wayOut, details: { leaseId, owner } },
  )
}
