/** What keeps payloads from being deleted: leases and backups, with what earlier sweeps left on local disk. */
import { join } from 'node:path'
import { checkNumber } from '../../util/check-number.ts'
import { sha256Of } from '../../util/checked-bytes.ts'
import { BOOLEAN, FUNCTION, type Kind, NUMBER, type OptionKinds, SIGNAL, STRING, CLOCK, checkArgument, checkOptions, has, listOf, optional } from '../../util/check-options.ts'
import { CATALOG, DESTINATION } from '../../contracts/kinds.ts'
import type { Destination } from '../../contracts/destination.ts'
import type { Holder, HoldSource, ReadHoldsOptions } from './hold-source.ts'
import { findHolds, type FoundHolds, holdersIn, type HoldPlaces, uniteHolds } from './hold-set.ts'
import type { HeldIds } from './held-ids.ts'
import { Leases, type LeasesOptions, type ProcessProof } from '../leases/leases.ts'
import { directoryCache, type PayloadIdsCache } from '../leases/payload-ids-cache.ts'
import { steadyClock, type SteadyClock } from '../../util/steady-clock.ts'
import { type SweepState, sweepStateFile } from '../sweep-state.ts'
import { directoryUnionStore, type UnionStore } from './union-store.ts'

export interface OpenHoldsOptions extends Omit<LeasesOptions, 'cache'> {
  /** All destinations at which the catalog may have a backup. */
  readonly destinations: readonly Destination[]
  /** As `HoldPlaces` says. @default true */
  readonly mayBeEmpty?: boolean | undefined
  /**
   * A directory of this machine for sets of payload IDs and marks of sweeps. Nothing else may be in it; losing it costs time only.
   *
   * Every held ID is in it once, with a bit for each backup: 36 bytes for a SHA-256 and up to 32 backups, twice that during an update.
   * The sets of a few new backups are in it as they are.
   */
  readonly directory: string
  /** The most bytes of set copies kept there: those of leases, and of a few new backups. @default 4 GiB */
  readonly maxCacheBytes?: number | undefined
}

export interface HoldsParts {
  readonly leases: Leases
  readonly destinations: readonly Destination[]
  readonly mayBeEmpty?: boolean | undefined
  readonly cache: PayloadIdsCache | undefined
  /** Where the union of all sets is kept between sweeps. */
  readonly unions: UnionStore
  /** Where the marks of a payload store, by its URL, are kept. */
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
    checkOptions('find', options, READ_OPTIONS)
    const { leases, destinations, mayBeEmpty, cache } = this.#parts
    return await findHolds({ catalog: leases.catalog, destinations, mayBeEmpty, cache }, options)
  }

  /** The union of the payload IDs of all sources, whose copies alone stay. The caller closes it. Rejects with `hold_unavailable`. */
  async unite(sources: readonly HoldSource[], options: ReadHoldsOptions = {}): Promise<HeldIds> {
    // A copy that cannot be deleted costs only space, until a later sweep deletes it.
    await this.#parts.cache?.retain(sources.map(({ name }) => name)).catch(() => undefined)
    return await uniteHolds(sources, this.#parts.unions, options)
  }

  stateOf(payloads: string): SweepState {
    return this.#parts.stateOf(payloads)
  }
}

export const HOLDS: Kind = has<Holds>('holds, as openHolds() gives', 'find', 'unite')
const READ_OPTIONS: OptionKinds<ReadHoldsOptions> = { signal: optional(SIGNAL), onTurn: optional(FUNCTION), recordFor: optional(has<ReadonlySet<string>>('a Set', 'has')) }
const OPEN_OPTIONS: OptionKinds<OpenHoldsOptions> = {
  catalog: CATALOG,
  destinations: listOf(DESTINATION, 'destinations'),
  mayBeEmpty: optional(BOOLEAN),
  directory: STRING,
  maxCacheBytes: optional(NUMBER),
  acknowledgeTimeoutMs: optional(NUMBER),
  clock: optional(CLOCK),
  steadyClock: optional(has<SteadyClock>('a clock', 'nowMs')),
  settleMs: optional(NUMBER),
  pause: optional(FUNCTION),
  process: optional(has<ProcessProof>('a proof of processes', 'owner', 'hasEnded')),
}

/** Opens the holds of a catalog and its destinations. Reads nothing yet. */
export function openHolds(given: OpenHoldsOptions): Holds {
  checkOptions('openHolds', given, OPEN_OPTIONS)
  const { destinations, mayBeEmpty, directory, maxCacheBytes, ...options } = given
  checkNumber('maxCacheBytes', maxCacheBytes ?? 0, { least: 0, most: Infinity })
  const cache = directoryCache({ directory: join(directory, 'payload-ids'), maxBytes: maxCacheBytes })
  return new Holds({
    leases: new Leases({ ...options, cache }),
    destinations,
    mayBeEmpty,
    cache,
    unions: directoryUnionStore(join(directory, 'union')),
    stateOf: (payloads) => sweepStateFile(join(directory, 'marks', sha256Of(payloads).slice(0, 32))),
    steadyClock: steadyClock(),
  })
}

export interface FindHoldersOptions extends HoldPlaces, ReadHoldsOptions {
  /** A payload ID; without one, all holders are found. */
  readonly payloadId?: string | undefined
}

const FIND_OPTIONS: OptionKinds<FindHoldersOptions> = {
  ...READ_OPTIONS,
  catalog: optional(CATALOG),
  destinations: listOf(DESTINATION, 'destinations'),
  mayBeEmpty: optional(BOOLEAN),
  cache: optional(has<PayloadIdsCache>('a cache', 'get', 'put', 'drop', 'retain')),
  payloadId: optional(STRING),
}

/** Finds what holds all payloads, or one payload, without keeping anything on local disk. Rejects with `hold_unavailable`. */
export async function findHolders(options: FindHoldersOptions): Promise<readonly Holder[]> {
  checkOptions('findHolders', options, FIND_OPTIONS)
  const { payloadId, signal, ...places } = options
  const found = await findHolds(places, { signal })
  return payloadId === undefined ? found.holders : await holdersIn(found, payloadId, { signal })
}

/** Finds the holders of one payload, with the leases that hold everything. Rejects with `hold_unavailable`. */
export async function holdersOf(holds: Holds, payloadId: string, options: ReadHoldsOptions = {}): Promise<readonly Holder[]> {
  checkArgument('holdersOf', holds, { name: 'holds', kind: HOLDS })
  checkArgument('holdersOf', payloadId, { name: 'payloadId', kind: STRING })
  checkOptions('holdersOf', options, READ_OPTIONS)
  return await holdersIn(await holds.find(options), payloadId, options)
}
