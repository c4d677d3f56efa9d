/** Rebuilds or completes a catalog from the backups at destinations. */
import type { Catalog } from '../contracts/catalog.ts'
import type { Destination } from '../contracts/destination.ts'
import { CATALOG, DESTINATION } from '../contracts/kinds.ts'
import { FUNCTION, type OptionKinds, SIGNAL, CLOCK, checkOptions, listOf, optional } from '../util/check-options.ts'
import { listener } from '../util/listener.ts'
import { type FoundBackup, listBackups } from './list-backups.ts'

export interface RebuildCatalogOptions {
  readonly catalog: Catalog
  readonly destinations: readonly Destination[]
  readonly signal?: AbortSignal | undefined
  /** Called for each backup. */
  readonly onProgress?: ((progress: { readonly destination: string; readonly backupId: string }) => void) | undefined
  /** The time in milliseconds since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined
}

const OPTIONS: OptionKinds<RebuildCatalogOptions> = {
  catalog: CATALOG,
  destinations: listOf(DESTINATION, 'destinations'),
  signal: optional(SIGNAL),
  onProgress: optional(FUNCTION),
  clock: optional(CLOCK),
}

export interface RebuildReport {
  /** Backups that were not in the catalog. They count as unverified. */
  readonly recorded: readonly BackupPlace[]
  /** Backups that differed from their record, which is updated. They count as unverified. */
  readonly altered: readonly BackupPlace[]
  /** The number of backups that the catalog had already. */
  readonly known: number
  /** Backups that could not be read; without an ID, the list of a destination. */
  readonly unreadable: readonly (Omit<BackupPlace, 'backupId'> & { readonly backupId: string | undefined; readonly error: unknown })[]
  /** Backups in the catalog that a destination no longer lists. They stay in the catalog. */
  readonly missing: readonly BackupPlace[]
}

export interface BackupPlace {
  readonly destination: string
  readonly backupId: string
}

/**
 * Reads the manifest of every listed backup, and records those that the catalog lacks or has otherwise. An unreadable backup is reported
 * and does not stop the rebuild. Nothing is removed from the catalog, and nothing changes at the destinations.
 *
 * Rejects with `catalog_unavailable`, and with the signal's reason.
 */
export async function rebuildCatalog(options: RebuildCatalogOptions): Promise<RebuildReport> {
  checkOptions('rebuildCatalog', options, OPTIONS)
  const { destinations, signal } = options
  const onProgress = listener(options.onProgress)
  const report: Report = { recorded: [], altered: [], known: 0, unreadable: [], missing: [] }
  for (const destination of destinations) {
    signal?.throwIfAborted()
    const entries: FoundBackup[] = []
    try {
      // `record` compares with the catalog.
      for await (const entry of listBackups(destination, async () => undefined, { signal })) entries.push(entry)
    } catch (error) {
      signal?.throwIfAborted()
      report.unreadable.push({ destination: destination.url, backupId: undefined, error })
      continue
    }
    for (const entry of entries) await record(entry, { ...options, onProgress, destination }, report)
    report.missing.push(...(await missingAt(options.catalog, destination, new Set(entries.map(({ backupId }) => backupId)))))
  }
  return report
}

type Report = { -readonly [Field in keyof RebuildReport]: RebuildReport[Field] extends readonly (infer Item)[] ? Item[] : RebuildReport[Field] }

async function record(
  entry: FoundBackup,
  { destination, catalog, signal, onProgress, clock = Date.now }: RebuildCatalogOptions & { readonly destination: Destination },
  report: Report,
): Promise<void> {
  const place = { destination: destination.url, backupId: entry.backupId }
  signal?.throwIfAborted()
  onProgress?.(place)
  if (entry.state === 'gone') return
  if (!('backup' in entry)) {
    report.unreadable.push({ ...place, error: entry.error })
    return
  }
  const recorded = await catalog.backup(entry.backupId, destination.url)
  const isRecorded = recorded !== undefined && recorded.deletedAt === undefined
  const isAltered = entry.backup.alteredSince(recorded) !== undefined
  if (isRecorded && !isAltered) {
    report.known += 1
    return
  }
  await catalog.append(entry.backup.recordedAt(new Date(clock()).toISOString(), 'rebuild'))
  report[isAltered ? 'altered' : 'recorded'].push(place)
}

async function missingAt(catalog: Catalog, { url }: Destination, listed: ReadonlySet<string>): Promise<readonly BackupPlace[]> {
  const missing: BackupPlace[] = []
  for await (const { backupId, destination, deletedAt } of catalog.backups()) {
    if (destination === url && deletedAt === undefined && !listed.has(backupId)) missing.push({ destination, backupId })
  }
  return missing
}
