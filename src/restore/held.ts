/** Holding payloads while a restore makes a store refer to them. */
import { CombinedError } from '../errors.ts'
import type { HeldLease, Leases } from '../holds/leases.ts'

export interface HeldOptions {
  /** Without them, nothing is held. */
  readonly leases: Leases | undefined
  readonly readStoreId: () => Promise<string | undefined>
  readonly backupId: string
  readonly signal?: AbortSignal | undefined
}

/**
 * Runs a restore under a lease on all payloads: the store refers to what is restored only at the end, and the backup may be deleted before. A lease
 * that cannot be released after a success is among the warnings: a later backup or sweep releases it.
 *
 * Rejects with `hold_unavailable` when a running sweep does not let it hold them; nothing was run then.
 */
export async function held<T extends { readonly warnings: readonly Error[] }>(options: HeldOptions, run: () => Promise<T>): Promise<T> {
  const { leases, readStoreId, backupId, signal } = options
  if (leases === undefined) return await run()
  await leases.reconcile()
  const lease = await leases.protect({ purpose: 'restore', storeId: await readStoreId(), backupId, signal })
  let report: T
  try {
    report = await run()
  } catch (error) {
    throw await released(lease, error)
  }
  const releasing = await lease.release('handed-over').catch((error: unknown) => error)
  return releasing === undefined ? report : { ...report, warnings: [...report.warnings, releasing as Error] }
}

async function released(lease: HeldLease, error: unknown): Promise<unknown> {
  try {
    await lease.release('failed')
    return error
  } catch (releasing) {
    const text = `${messageOf(error)}; its hold on payloads could not be released, which a later backup or sweep does: ${messageOf(releasing)}`
    return new CombinedError(text, [error, releasing])
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
