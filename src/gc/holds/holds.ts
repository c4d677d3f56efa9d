/** All that keeps payloads from being deleted: leases, backups, and what sweeps know of earlier ones. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { checkNumber } from '../../util/check-number.ts'
import type { Destination } from '../../contracts/destination.ts'
import type { Holder, HoldSource, ReadHoldsOptions } from './hold-source.ts'
import { findHolds, type FoundHolds, holdersIn, type HoldPlaces, uniteHolds } from './hold-set.ts'
import type { HeldIds } from './held-ids.ts'
import { Leases, type LeasesOptions } from '../leases/leases.ts'
import { directoryCache, type PayloadIdsCache } from '../leases/payload-ids-cache.ts'
import { steadyClock, type SteadyClock } from '../../util/steady-clock.ts'
import { type SweepState, sweepStateFile } from '../sweep/sweep-state.ts'
import { directoryUnionStore, type UnionStore } from './union-store.ts'

export interface OpenHoldsOptions extends Omit<LeasesOptions, 'cache'> {
  /** All destinations that a backup of the catalog may be at. */
  readonly destinations: readonly Destination[]
  /** As `HoldPlaces` says. @default true */
  readonly mayBeEmpty?: boolean | undefined
  /**
   * A directory of this machine for sets of payload IDs and marks of sweeps; nothing else may be in it. Losing it costs time only. It has
   * every held ID once, with a bit for each backup: 36 bytes for a SHA-256 and up to 32 backups, twice that while it is brought up to date;
   * and the sets of a few new backups as they are.
   */
  readonly directory: string
  /** The most bytes of copies of sets to keep there: those of leases, and of a few new backups. @default 4 GiB */
  readonly maxCacheBytes?: number | undefined
}

export interface HoldsParts {
  readonly leases: Leases
  readonly destinations: readonly Destination[]
  readonly mayBeEmpty?: boolean | undefined
  readonly cache: PayloadIdsCache | undefined
  /** Where the union of all sets is kept between sweeps. */
  readonly unions: UnionStore
  /** Where the marks of the payload store of a URL are kept. */
  readonly stateOf: (payloads: string) => SweepState
  readonly steadyClock: SteadyClock
}

/** The holds on one or several payload stores. */
export class Holds {
  readonly leases: Leases
  readonly steadyClock: SteadyClock
  readonly #parts: HoldsParts

  constructor(parts: HoldsParts) {
    this.leases = parts.leases
    this.steadyClock = parts.steadyClock
    this.#parts = parts
  }

  /** Everything that holds payloads now. Rejects with `hold_unavailable`. */
  async find(options: ReadHoldsOptions = {}): Promise<FoundHolds> {
    const { leases, destinations, mayBeEmpty, cache } = this.#parts
    return await findHolds({ catalog: leases.catalog, destinations, mayBeEmpty, cache }, options)
  }

  /** All payload IDs of some sources, which the caller closes. Rejects with `hold_unavailable`. */
  async unite(sources: readonly HoldSource[], options: ReadHoldsOptions = {}): Promise<HeldIds> {
    return await uniteHolds(sources, this.#parts.unions, options)
  }

  stateOf(payloads: string): SweepState {
    return this.#parts.stateOf(payloads)
  }
}

/** Opens the holds that a catalog and destinations make. Nothing is read yet. */
export function openHolds({ destinations, mayBeEmpty, directory, maxCacheBytes, ...options }: OpenHoldsOptions): Holds {
  checkNumber('maxCacheBytes', maxCacheBytes ?? 0, { least: 0, most: Infinity })
  const cache = directoryCache({ directory: join(directory, 'payload-ids'), maxBytes: maxCacheBytes })
  return new Holds({
    leases: new Leases({ ...options, cache }),
    destinations,
    mayBeEmpty,
    cache,
    unions: directoryUnionStore(join(directory, 'union')),
    stateOf: (payloads) => sweepStateFile(join(directory, 'marks', createHash('sha256').update(payloads).digest('hex').slice(0, 32))),
    steadyClock: steadyClock(),
  })
}

export interface FindHoldersOptions extends HoldPlaces, ReadHoldsOptions {
  /** A payload ID; without one, all holders are found. */
  readonly payloadId?: string | undefined
}

/** Finds what holds payloads, or one payload, by a catalog and destinations, without keeping anything for the next time. Rejects with `hold_unavailable`. */
export async function findHolders({ payloadId, signal, ...places }: FindHoldersOptions): Promise<readonly Holder[]> {
  const found = await findHolds(places, { signal })
  return payloadId === undefined ? found.holders : await holdersIn(found, payloadId, { signal })
}

/** The holders of one payload, leases that hold everything included. Rejects with `hold_unavailable`. */
export async function holdersOf(holds: Holds, payloadId: string, options: ReadHoldsOptions = {}): Promise<readonly Holder[]> {
  return await holdersIn(await holds.find(options), payloadId, options)
}
