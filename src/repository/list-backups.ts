/** Lists all backups of a destination, each with its state. */
import type { Catalog, CatalogBackup } from '../contracts/catalog.ts'
import type { Destination, DestinationOptions } from '../contracts/destination.ts'
import { type HoldfastError, isHoldfastError, ManifestMissingError } from '../errors/errors.ts'
import { isNewerManifest } from '../format/manifest.ts'
import { mapInOrder } from '../util/in-parallel.ts'
import { listIds } from './destination-calls.ts'
import { openBackup, type StoredBackup } from './stored-backup.ts'

/** A listed backup, by state.
 *
 * - `readable`: its manifest was read, and is as the catalog recorded it (`recorded`), if recorded.
 * - `altered`: its manifest was read, and differs from the catalog's record.
 * - `newer`: a newer release made it, and this one cannot judge it.
 * - `damaged`: its manifest is invalid, or an object is not a file.
 * - `unreachable`: its manifest could not be read now.
 * - `gone`: it was deleted while the list was read.
 * - `missing`: the catalog has it, and the destination lacks it.
 */
export type ListedBackup = FoundBackup | { readonly state: 'missing'; readonly backupId: string; readonly error: HoldfastError }

/** What a look at the destination finds. */
export type FoundBackup =
  | { readonly state: 'readable'; readonly backupId: string; readonly backup: StoredBackup; readonly recorded: CatalogBackup | undefined }
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
): AsyncGenerator<FoundBackup, void, undefined> {
  const ids = async function* (): AsyncGenerator<string, void, undefined> {
    for await (const backupId of listIds(destination, { signal })) if (backupId > after) yield backupId
  }
  return mapInOrder(ids(), MANIFESTS_AT_ONCE, (backupId) => lookAtBackup(destination, recorded, { backupId, signal }))
}

/** Lists as `listBackups` does, and also what the catalog has and the destination lacks. */
export async function* listWithMissing(
  destination: Destination,
  catalog: Catalog,
  options: ListBackupsOptions = {},
): AsyncGenerator<ListedBackup, void, undefined> {
  const recorded: Recorded = async (backupId) => await catalog.backup(backupId, destination.url)
  const records = recordedIds(catalog, destination.url, options.after)
  try {
    let next = await records.next()
    for await (const entry of listBackups(destination, recorded, options)) {
      for (; next.done !== true && next.value < entry.backupId; next = await records.next()) yield await unlisted(next.value)
      if (next.done !== true && next.value === entry.backupId) next = await records.next()
      yield entry
    }
    for (; next.done !== true; next = await records.next()) yield await unlisted(next.value)
  } finally {
    await records.return()
  }

  /** Looks once more: the backup may be published since the listing began. */
  async function unlisted(backupId: string): Promise<ListedBackup> {
    const entry = await lookAtBackup(destination, recorded, { backupId, signal: options.signal })
    if (entry.state !== 'gone') return entry
    if ((await recorded(backupId))?.deletedAt !== undefined) return entry
    const error = new ManifestMissingError(`Not listed at ${JSON.stringify(destination.url)}, but the catalog has it: backup ${backupId}`, {
      hint: 'Check that the destination is mounted and the right one; if a backup is gone for good, run "holdfast delete ID" with its store or catalog',
      details: { backupId },
    })
    return { state: 'missing', backupId, error }
  }
}

/** The backups that should be at the destination, but for those that only a sweep recorded: others may take them. */
async function* recordedIds(catalog: Catalog, url: string, after = ''): AsyncGenerator<string, void, undefined> {
  for await (const { backupId, destination, deletedAt, how } of catalog.backups()) {
    if (destination === url && deletedAt === undefined && how !== 'sweep' && backupId > after) yield backupId
  }
}

/** Finds the state of one backup. Rejects with what `recorded` rejects with, and with the signal's reason. */
export async function lookAtBackup(
  destination: Destination,
  recorded: Recorded,
  { backupId, signal }: DestinationOptions & { readonly backupId: string },
): Promise<FoundBackup> {
  let backup: StoredBackup
  try {
    backup = await openBackup({ destination, backupId, signal })
  } catch (error) {
    signal?.throwIfAborted()
    return stateOf(backupId, error)
  }
  const record = await recorded(backupId)
  const error = backup.alteredSince(record)
  return error === undefined ? { state: 'readable', backupId, backup, recorded: record } : { state: 'altered', backupId, backup, error }
}

function stateOf(backupId: string, error: unknown): FoundBackup {
  if (!isHoldfastError(error)) return { state: 'unreachable', backupId, error }
  if (isNewerManifest(error)) return { state: 'newer', backupId, error }
  if (error.code === 'manifest_invalid' || error.code === 'backup_incomplete') return { state: 'damaged', backupId, error }
  return error.code === 'manifest_missing' ? { state: 'gone', backupId } : { state: 'unreachable', backupId, error }
}
