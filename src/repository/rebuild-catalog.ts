/** A catalog made anew, or completed, from what destinations hold. */
import type { Destination } from '../contracts/destination.ts'
import { isHoldfastError } from '../errors/errors.ts'
import type { Manifest } from '../contracts/manifest.ts'
import { parseManifest } from '../format/manifest.ts'
import type { Catalog } from '../contracts/catalog.ts'

export interface RebuildCatalogOptions {
  readonly catalog: Catalog
  readonly destinations: readonly Destination[]
  readonly signal?: AbortSignal | undefined
  /** Called for each backup that was looked at. */
  readonly onProgress?: ((progress: { readonly destination: string; readonly backupId: string }) => void) | undefined
  /** The time in milliseconds since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined
}

export interface RebuildReport {
  /** Backups that the catalog did not have. They count as unverified. */
  readonly recorded: readonly BackupPlace[]
  /** Backups that it had already. */
  readonly known: number
  /** What could not be read: a backup, or, without an ID, the list of a destination. */
  readonly unreadable: readonly (Omit<BackupPlace, 'backupId'> & { readonly backupId: string | undefined; readonly error: unknown })[]
  /** Backups that the catalog has and that a destination no longer lists. They stay in the catalog as they are. */
  readonly missing: readonly BackupPlace[]
}

export interface BackupPlace {
  readonly destination: string
  readonly backupId: string
}

/**
 * Reads the manifest of every listed backup and records those that the catalog does not have. What cannot be read is reported and does
 * not stop it. Nothing is removed from the catalog, and nothing at the destinations is changed.
 *
 * Rejects with `catalog_unavailable`, and with the signal's reason.
 */
export async function rebuildCatalog(options: RebuildCatalogOptions): Promise<RebuildReport> {
  const { destinations, signal } = options
  const report = { recorded: [] as BackupPlace[], known: 0, unreadable: [] as RebuildReport['unreadable'][number][], missing: [] as BackupPlace[] }
  for (const destination of destinations) {
    signal?.throwIfAborted()
    const listed = new Set<string>()
    try {
      for await (const backupId of destination.list({ signal })) listed.add(backupId)
    } catch (error) {
      signal?.throwIfAborted()
      report.unreadable.push({ destination: destination.url, backupId: undefined, error })
      continue
    }
    for (const backupId of listed) await recordListed({ destination, backupId }, options, report)
    report.missing.push(...(await missingAt(options.catalog, destination, listed)))
  }
  return report
}

type Report = { -readonly [Field in keyof RebuildReport]: RebuildReport[Field] extends readonly (infer Item)[] ? Item[] : RebuildReport[Field] }

async function recordListed(
  { destination, backupId }: { readonly destination: Destination; readonly backupId: string },
  { catalog, signal, onProgress, clock = Date.now }: RebuildCatalogOptions,
  report: Report,
): Promise<void> {
  const place = { destination: destination.url, backupId }
  onProgress?.(place)
  let manifest: Manifest
  try {
    manifest = parseManifest(await destination.manifest(backupId, { signal }), backupId)
  } catch (error) {
    signal?.throwIfAborted()
    // Deleted while the list was read.
    if (isHoldfastError(error) && error.code === 'manifest_missing') return
    report.unreadable.push({ ...place, error })
    return
  }
  const recorded = await catalog.backup(backupId, destination.url)
  if (recorded !== undefined && recorded.deletedAt === undefined && isSame(recorded.manifest, manifest)) {
    report.known += 1
    return
  }
  await catalog.append({ type: 'backup-recorded', at: new Date(clock()).toISOString(), ...place, manifest, how: 'rebuild' })
  report.recorded.push(place)
}

async function missingAt(catalog: Catalog, { url }: Destination, listed: ReadonlySet<string>): Promise<readonly BackupPlace[]> {
  const missing: BackupPlace[] = []
  for await (const { backupId, destination, deletedAt } of catalog.backups()) {
    if (destination === url && deletedAt === undefined && !listed.has(backupId)) missing.push({ destination, backupId })
  }
  return missing
}

/** Both were read by `parseManifest`, which gives the fields in one order. */
function isSame(left: Manifest | undefined, right: Manifest): boolean {
  return JSON.stringify(left) === JSON.stringify(right)
}
