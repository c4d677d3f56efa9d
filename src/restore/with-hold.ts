/** A lease on all payloads for as long as a store is being made to refer to others. */
import type { Catalog } from '../contracts/catalog.ts'
import type { LeasePurpose } from '../contracts/hold-events.ts'
import { toError } from '../errors/error-message.ts'
import { CatalogUnavailableError, isHoldfastError } from '../errors/errors.ts'
import type { Holds } from '../gc/holds/holds.ts'
import { type HeldLease, Leases, releaseAfter, warnOfLease } from '../gc/leases/leases.ts'
import type { Swappable } from '../contracts/swappable.ts'

/** The store that is to refer to the payloads. */
export type HeldTarget = Pick<Swappable, 'readStoreId'>

export interface HeldOptions {
  readonly purpose: Exclude<LeasePurpose, 'backup'>
  readonly backupId?: string | undefined
  readonly holds: Holds | undefined
  readonly catalog: Catalog | undefined
  readonly clock: () => number
  readonly signal?: AbortSignal | undefined
}

/**
 * Runs a restore or a rollback under a lease: what the engine that is to be live refers to is referred to by the store only once it is. The lease is
 * that of `holds`; with a catalog alone, one in it, and where that cannot be written, which no sweep can begin with either, none and a warning.
 *
 * It ends with the work, also when that could not clear its journal: whichever engine the recovery makes live, the store keeps the other one, or removes it
 * unused, and what it keeps it says in `retainedPayloadIds`.
 *
 * Rejects with `hold_unavailable` when a running sweep does not answer, and, where `holds` are given, with `catalog_unavailable`.
 */
export async function held<T extends { readonly warnings: readonly Error[] }>(target: HeldTarget, options: HeldOptions, run: () => Promise<T>): Promise<T> {
  const { lease, warnings } = await protect(target, options)
  let report: T
  try {
    report = await run()
  } catch (error) {
    throw await releaseAfter(error, lease)
  }
  await lease?.release('handed-over').catch((error: unknown) => warnings.push(toError(error)))
  return warnings.length === 0 ? report : { ...report, warnings: [...report.warnings, ...warnings] }
}

async function protect(target: HeldTarget, options: HeldOptions): Promise<{ readonly lease: HeldLease | undefined; readonly warnings: Error[] }> {
  const { holds, catalog, clock, purpose, backupId, signal } = options
  const leases = holds?.leases ?? (catalog && new Leases({ catalog, clock }))
  if (leases === undefined) return { lease: undefined, warnings: [] }
  try {
    const { unproven } = await leases.reconcile()
    // What is wrong with a store that cannot tell its ID is for the work itself to find.
    const storeId = await target.readStoreId().catch(() => undefined)
    return { lease: await leases.protect({ purpose, storeId, backupId, signal }), warnings: unproven.map(warnOfLease) }
  } catch (error) {
    if (holds !== undefined || !isHoldfastError(error) || error.code !== 'catalog_unavailable') throw error
    return { lease: undefined, warnings: [new CatalogUnavailableError(`Payloads are not held meanwhile: ${error.message}`, { cause: error })] }
  }
}
