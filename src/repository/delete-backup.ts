/** Deleting a backup, unless it is needed. */
import { checkBackupId } from '../util/ulid.ts'
import type { Catalog } from '../contracts/catalog.ts'
import { JobLog } from '../catalog/job-log.ts'
import type { Destination } from '../contracts/destination.ts'
import { BackupProtectedError, isHoldfastError } from '../errors/errors.ts'
import type { Manifest } from '../contracts/manifest.ts'
import { isNewerManifest, parseManifest } from '../format/manifest.ts'
import { checkSizes } from './check-stored.ts'
import { isDamage } from './verify-backup.ts'

export interface DeleteBackupOptions {
  readonly destination: Destination
  readonly backupId: string
  /** Where the deletion is recorded; it also knows which backups did not verify, and so are not good. */
  readonly catalog?: Catalog | undefined
  /** Whether the last good backup of a store may be deleted. @default false */
  readonly force?: boolean | undefined
  /** Whether an unfinished restore names the backup; then it is not deleted, forced or not. @default none does */
  readonly isBeingRestored?: ((backupId: string) => boolean | Promise<boolean>) | undefined
  /** Ends the call until the backup is being deleted; it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  /** The time in milliseconds since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined
}

export interface DeleteReport {
  readonly backupId: string
  /** Whether it was listed until now; otherwise only what an interrupted delete had left was removed. */
  readonly wasListed: boolean
}

/**
 * Un-lists a backup, then removes its objects. Idempotent: a deletion that was cut off is finished by the next call.
 *
 * Rejects with `backup_protected` when it is the last good backup of its store at the destination, unless forced, and when an
 * unfinished restore names it. A backup is good when its manifest can be read, its objects have the sizes it says, and it did not
 * fail its last verification; one that is not may always be deleted. Rejects with `manifest_version_unsupported` for a backup of a newer
 * release, of which that cannot be told, unless forced; with `invalid_argument` for what is no ID, `catalog_unavailable`, and what the
 * destination rejects with.
 */
export async function deleteBackup(options: DeleteBackupOptions): Promise<DeleteReport> {
  const { destination, backupId, catalog, force = false, isBeingRestored, signal, clock = Date.now } = options
  checkBackupId(backupId)
  signal?.throwIfAborted()
  if ((await isBeingRestored?.(backupId)) === true) {
    throw new BackupProtectedError(`Cannot delete backup ${backupId}: an unfinished restore names it`, {
      hint: 'Let the restore end, or open its store once, which completes or undoes it',
      retryable: true,
    })
  }
  const state = await stateOf(options, { backupId, passNewer: force })
  if (!force && state.manifest !== undefined && !(await hasOther(options, state.manifest))) {
    const { storeId } = state.manifest
    throw new BackupProtectedError(`Cannot delete backup ${backupId}: it is the last good one of the store "${storeId}" at ${JSON.stringify(destination.url)}`, {
      details: { backupId, storeId },
    })
  }
  const lease = (await catalog?.leases())?.find((lease) => lease.backupId === backupId)
  if (lease !== undefined) {
    throw new BackupProtectedError(`Cannot delete backup ${backupId}: it is being ${lease.purpose === 'backup' ? 'taken' : 'restored'}`, {
      hint: `Let the ${lease.purpose} end; one that crashed is found by the next backup or sweep`,
      retryable: true,
    })
  }
  signal?.throwIfAborted()
  const { storeId, storeKind } = state.manifest ?? {}
  const log = await JobLog.start({ kind: 'delete', backupId, destination: destination.url, storeId, storeKind }, { catalog, clock })
  const place = { backupId, destination: destination.url }
  try {
    const isRecorded = await isThere(catalog, place)
    // Before anything is removed: from now on that the backup is gone is no fault, and yet it holds its payloads as long as it is listed.
    if (isRecorded) await catalog?.append({ type: 'backup-deletion-started', at: log.now(), ...place })
    await destination.delete(backupId)
    await log.succeed(...(isRecorded ? [{ type: 'backup-deleted' as const, at: log.now(), ...place }] : []))
  } catch (error) {
    throw await log.end('failed', error)
  }
  return { backupId, wasListed: state.wasListed }
}

/** Whether the catalog has the backup. */
async function isThere(catalog: Catalog | undefined, { backupId, destination }: { readonly backupId: string; readonly destination: string }): Promise<boolean> {
  const known = await catalog?.backup(backupId, destination)
  return known !== undefined && known.deletedAt === undefined
}

/** Whether a backup is listed, and its manifest when it is good. */
async function stateOf(
  { destination, catalog, signal }: DeleteBackupOptions,
  { backupId, passNewer }: { readonly backupId: string; readonly passNewer: boolean },
): Promise<{ readonly wasListed: boolean; readonly manifest: Manifest | undefined }> {
  try {
    const manifest = parseManifest(await destination.manifest(backupId, { signal }), backupId)
    await checkSizes({ destination, manifest }, { signal })
    const recorded = await catalog?.backup(backupId, destination.url)
    return { wasListed: true, manifest: recorded?.verification?.error === undefined ? manifest : undefined }
  } catch (error) {
    if (!isDamage(error) && !(passNewer && isNewerManifest(error))) throw error
    return { wasListed: !(isHoldfastError(error) && error.code === 'manifest_missing'), manifest: undefined }
  }
}

/** Another good backup of the same store; the newest are looked at first. */
async function hasOther(options: DeleteBackupOptions, { backupId, storeId }: Manifest): Promise<boolean> {
  const listed: string[] = []
  for await (const other of options.destination.list({ signal: options.signal })) if (other !== backupId) listed.push(other)
  for (const other of listed.toReversed()) {
    if ((await stateOf(options, { backupId: other, passNewer: true })).manifest?.storeId === storeId) return true
  }
  return false
}

