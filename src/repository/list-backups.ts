/** Lists all backups of a destination, each with its state. */
import type { CatalogBackup } from '../contracts/catalog.ts'
import type { Destination, DestinationOptions } from '../contracts/destination.ts'
import { type HoldfastError, isHoldfastError } from '../errors/errors.ts'
import { isNewerManifest } from '../format/manifest.ts'
import { mapInOrder } from '../util/in-parallel.ts'
import { openBackup, type StoredBackup } from './stored-backup.ts'

/** A listed backup, by state.
 *
 * - `readable`: its manifest was read, and is as the catalog recorded it, if recorded.
 * - `altered`: its manifest was read, and differs from the catalog's record.
 * - `newer`: a newer release made it, and this one cannot judge it.
 * - `damaged`: its manifest is invalid, or an object is not a file.
 * - `unreachable`: its manifest could not be read now.
 * - `gone`: it was deleted while the list was read.
 */
export type ListedBackup =
  | { readonly state: 'readable'; readonly backupId: string; readonly backup: StoredBackup }
  | { readonly state: 'altered'; readonly backupId: string; readonly backup: StoredBackup; readonly error: HoldfastError }
  | { readonly state: 'newer' | 'damaged'; readonly backupId: string; readonly error: HoldfastError }
  | { readonly state: 'unreachable'; readonly backupId: string; readonly error: unknown }
  | { readonly state: 'gone'; readonly backupId: string }

export interface ListBackupsOptions extends DestinationOptions {
  /** Lists only backups with greater IDs, to continue an earlier list. @default all */
  readonly after?: string | undefined
}

/** Finds the catalog's record of a backup. */
export type Recorded = (backupId: string) => Promise<CatalogBackup | undefined>

/** The number of manifests read at once: one after the other, thousands would take minutes at a distant destination. */
export const MANIFESTS_AT_ONCE = 16

/**
 * Lists all backups in ascending order. Rejects when the listing cannot be completed, with what `recorded` rejects with, and with the
 * signal's reason.
 */
export function listBackups(
  destination: Destination,
  recorded: Recorded,
  { after = '', signal }: ListBackupsOptions = {},
): AsyncGenerator<ListedBackup, void, undefined> {
  const ids = async function* (): AsyncGenerator<string, void, undefined> {
    for await (const backupId of destination.list({ signal })) if (backupId > after) yield backupId
  }
  return mapInOrder(ids(), MANIFESTS_AT_ONCE, (backupId) => lookAtBackup(destination, recorded, { backupId, signal }))
}

/** Finds the state of one backup. Rejects with what `recorded` rejects with, and with the signal's reason. */
export async function lookAtBackup(
  destination: Destination,
  recorded: Recorded,
  { backupId, signal }: DestinationOptions & { readonly backupId: string },
): Promise<ListedBackup> {
  let backup: StoredBackup
  try {
    backup = await openBackup({ destination, backupId, signal })
  } catch (error) {
    signal?.throwIfAborted()
    return stateOf(backupId, error)
  }
  const error = backup.alteredSince(await recorded(backupId))
  return error === undefined ? { state: 'readable', backupId, backup } : { state: 'altered', backupId, backup, error }
}

function stateOf(backupId: string, error: unknown): ListedBackup {
  if (!isHoldfastError(error)) return { state: 'unreachable', backupId, error }
  if (isNewerManifest(error)) return { state: 'newer', backupId, error }
  if (error.code === 'manifest_invalid' || error.code === 'backup_incomplete') return { state: 'damaged', backupId, error }
  return error.code === 'manifest_missing' ? { state: 'gone', backupId } : { state: 'unreachable', backupId, error }
}
