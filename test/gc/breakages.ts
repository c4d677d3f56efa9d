/** Rules of the holds, each broken on purpose. */
import type * as fc from 'fast-check'
import type { Catalog, CatalogEvent } from '../../src/contracts/catalog.ts'
import type { FoundHolds } from '../../src/gc/holds/hold-set.ts'
import type { HeldIds } from '../../src/gc/holds/held-ids.ts'
import { readUnion } from '../../src/gc/holds/hold-union.ts'
import type { Holds } from '../../src/gc/holds/holds.ts'
import { altered } from '../support/altered.ts'
import { memoryUnions } from './holds/memory-unions.ts'
import type { Process } from './scheduler.ts'
import { type Breakage, heldByBackup, lostWhileBackedUp, type Program, underWay } from './simulation.ts'
import type { World } from './world.ts'

const isLease = ({ type }: CatalogEvent): boolean => type.startsWith('lease-')

/** A catalog to which some events are not written; those that were seem written. */
function without(catalog: Catalog, isLost: (event: CatalogEvent) => boolean): Catalog {
  return altered(catalog, { append: async (...events) => await catalog.append(...events.filter((event) => !isLost(event))) })
}

/** A catalog whose leases are in the memory of the process: they end with it. */
function withVolatileLeases(catalog: Catalog, world: World, process: Process): Catalog {
  const isOwn = (event: CatalogEvent): boolean => event.type === 'lease-taken' && event.owner.pid === process.pid
  const forget = (): void => {
    const taken = new Set(world.events.filter(isOwn).map((event) => ('leaseId' in event ? event.leaseId : '')))
    for (let at = world.events.length - 1; at >= 0; at--) {
      const event = world.events[at] as CatalogEvent
      if ('leaseId' in event && taken.has(event.leaseId)) world.events.splice(at, 1)
    }
  }
  void process.death.promise.then(forget)
  return catalog
}

const NOTHING: FoundHolds = { holders: [], everything: [], sources: [] }

async function nothingHeld(): Promise<HeldIds> {
  return await readUnion([], memoryUnions())
}

/** What cannot be read holds nothing. */
function lenient(holds: Holds): Holds {
  return altered(holds, {
    find: async (options) => await holds.find(options).catch(() => NOTHING),
    unite: async (sources, options) => await holds.unite(sources, options).catch(nothingHeld),
  })
}

/** By name: what is broken and how, and the programs in which it shows soonest. */
export const BREAKAGES: Readonly<Record<string, Breakage & { readonly programs: fc.Arbitrary<Program> }>> = {
  'no lease': { programs: lostWhileBackedUp, catalogOfOwner: (catalog) => without(catalog, isLease) },
  'a lease that is not durable': { programs: lostWhileBackedUp, catalogOfOwner: withVolatileLeases },
  'a lease that is released before the manifest is published': {
    programs: lostWhileBackedUp,
    catalogOfOwner: (catalog) =>
      altered(catalog, {
        append: async (...events) => {
          await catalog.append(...events)
          for (const event of events) if (event.type === 'lease-narrowed') await catalog.append({ type: 'lease-released', at: event.at, leaseId: event.leaseId, why: 'handed-over' })
        },
      }),
  },
  'a source that cannot be read holds nothing': { programs: heldByBackup, holds: lenient },
  'a list of no backups is believed, though the catalog has some': { programs: heldByBackup, catalogOfSweep: (catalog) => altered(catalog, { async *backups() {} }) },
  'what is kept for rollback is not asked for': {
    programs: heldByBackup,
    references: (references) => ({ storeId: references.storeId, payloadIds: () => references.payloadIds() }),
  },
  'a restore without a lease': { programs: heldByBackup, restoresWithoutHolds: true },
  'a payload store that deletes what was renewed': {
    programs: underWay,
    payloads: (payloads, world) =>
      altered(payloads, {
        deleteUnchanged: async (batch, options) => await payloads.deleteUnchanged(batch.map((payload) => ({ ...payload, version: world.payloads.get(payload.payloadId)?.version ?? '' })), options),
      }),
  },
}

