/** All backups of a destination, with what each one's manifest is worth. */
import type { CatalogBackup } from '../contracts/catalog.ts'
import type { Destination, DestinationOptions } from '../contracts/destination.ts'
import { type HoldfastError, isHoldfastError } from '../errors/errors.ts'
import { isNewerManifest } from '../format/manifest.ts'
import { mapInOrder } from '../util/in-parallel.ts'
import { openBackup, type StoredBackup } from './stored-backup.ts'

/**
 * A backup that a destination lists.
 *
 * - `readable`: its manifest was read, and is what the catalog recorded, if that did.
 * - `altered`: its manifest was read, and is not what the catalog recorded.
 * - `newer`: it is of a release that knows more than this one, which can say nothing of it.
 * - `damaged`: its manifest is not one.
 * - `unreachable`: its manifest could not be read now, which says nothing of the backup.
 * - `gone`: it has no manifest: it was deleted while the list was read.
 */
export type ListedBackup =
  | { readonly state: 'readable'; readonly backupId: string; readonly backup: StoredBackup }
  | { readonly state: 'altered'; readonly backupId: string; readonly backup: StoredBackup; readonly error: HoldfastError }
  | { readonly state: 'newer' | 'damaged'; readonly backupId: string; readonly error: HoldfastError }
  | { readonly state: 'unreachable'; readonly backupId: string; readonly error: unknown }
  | { readonly state: 'gone'; readonly backupId: string }

export interface ListBackupsOptions extends DestinationOptions {
  /** Only backups with greater IDs: where an earlier list ended. @default all */
  readonly after?: string | undefined
}

/** What a catalog recorded of a backup. */
export type Recorded = (backupId: string) => Promise<CatalogBackup | undefined>

/** A destination may be far away: waiting for one manifest after another would take minutes for thousands. */
export const MANIFESTS_AT_ONCE = 16

/** Lists all backups in ascending order. Rejects when the list cannot be completed, with what `recorded` rejects with, and with the signal's reason. */
export function listBackups(destination: Destination, recorded: Recorded, { after = '', signal }: ListBackupsOptions = {}): AsyncGenerator<ListedBackup, void, undefined> {
  const ids = async function* (): AsyncGenerator<string, void, undefined> {
    for await (const backupId of destination.list({ signal })) if (backupId > after) yield backupId
  }
  return mapInOrder(ids(), MANIFESTS_AT_ONCE, (backupId) => lookAtBackup(destination, recorded, { backupId, signal }))
}

/** Resolves with what there is of a backup. Rejects with what `recorded` rejects with, and with the signal's reason. */
export async function lookAtBackup(destination: Destination, recorded: Recorded, { backupId, signal }: DestinationOptions & { readonly backupId: string }): Promise<ListedBackup> {
  let backup: StoredBackup
  try {
    backup = await openBackup({ destination, backupId, signal })
  } catch (error) {
    signal?.throwIfAborted()
    return unopened(backupId, error)
  }
  const error = backup.alteredSince(await recorded(backupId))
  return error === undefined ? { state: 'readable', backupId, backup } : { state: 'altered', backupId, backup, error }
}

function unopened(backupId: string, error: unknown): ListedBackup {
  if (!isHoldfastError(error)) return { state: 'unreachable', backupId, error }
  if (isNewerManifest(error)) return { state: 'newer', backupId, error }
  if (error.code === 'manifest_invalid') return { state: 'damaged', backupId, error }
  return error.code === 'manifest_missing' ? { state: 'gone', backupId } : { state: 'unreachable', backupId, error }
}
