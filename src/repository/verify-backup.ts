/** Verifies a backup, and records the outcome. */
import { jobErrorOf } from '../catalog/job-log.ts'
import type { Catalog, RecordedLevel } from '../contracts/catalog.ts'
import type { Destination } from '../contracts/destination.ts'
import type { Manifest } from '../contracts/manifest.ts'
import { CATALOG, DESTINATION } from '../contracts/kinds.ts'
import { failureAfter } from '../errors/clean-up.ts'
import { type ErrorCode, isHoldfastError } from '../errors/errors.ts'
import { FUNCTION, type OptionKinds, STRING, checkOptions, optional } from '../util/check-options.ts'
import { CHECK_OPTIONS, type CheckBackupOptions, checkLevel, checkReaching, type Reach, type VerifyReport } from './check-backup.ts'
import { openBackup, type StoredBackup } from './stored-backup.ts'

export interface VerifyBackupOptions extends CheckBackupOptions {
  readonly destination: Destination
  readonly backupId: string
  /** Records the outcome, good or damaged. Its record of the backup is compared. */
  readonly catalog?: Catalog | undefined
  /** Called and awaited first, when the manifest was read; throwing or rejecting ends the verification. */
  readonly onManifest?: ((manifest: Manifest) => void | Promise<void>) | undefined
}

const OPTIONS: OptionKinds<VerifyBackupOptions> = { ...CHECK_OPTIONS, destination: DESTINATION, backupId: STRING, catalog: optional(CATALOG), onManifest: optional(FUNCTION) }

/**
 * Verifies a published backup and resolves with a report. Changes nothing at the destination, and yields to the event loop every few
 * milliseconds. The catalog records the level that was reached, or that found the fault.
 *
 * Rejects with `manifest_missing`, `manifest_invalid`, `manifest_version_unsupported`, `manifest_feature_unsupported`, `backup_altered`,
 * `backup_incomplete`, `restore_corrupt` (with the byte offset and the frame of the first fault), `record_invalid`, `store_inconsistent`,
 * `store_kind_mismatch`, `checksum_mismatch`, `payload_missing`, `catalog_unavailable`, what the destination, the trial store and the
 * payload store reject with, and the signal's reason. Throws a `TypeError` for level
 * `restore` without `openTrial`, and for `payloads` without `payloads`.
 */
export async function verifyBackup(options: VerifyBackupOptions): Promise<VerifyReport> {
  checkOptions('verifyBackup', options, OPTIONS)
  checkLevel(options)
  const { signal, onManifest } = options
  signal?.throwIfAborted()
  let backup: StoredBackup | undefined
  const reach: Reach = { level: 'manifest' }
  try {
    backup = await openBackup({ ...options, allowAltered: true })
    await onManifest?.(backup.manifest)
    await backup.compareWith(options.catalog)
    const report = await checkReaching(backup, options, reach)
    await recordOutcome(options, backup, { ...report, level: reach.level })
    return report
  } catch (error) {
    throw isDamage(error) ? await recordDamage(options, backup, { error, level: reach.level }) : error
  }
}

/** Whether an error proves that a stored backup is bad, not only that it could not be read now. */
export function isDamage(error: unknown): boolean {
  return isHoldfastError(error) && DAMAGE.has(error.code)
}

const DAMAGE: ReadonlySet<ErrorCode> = new Set([
  'restore_corrupt', 'record_invalid', 'store_inconsistent', 'checksum_mismatch', 'backup_incomplete', 'manifest_invalid', 'manifest_missing', 'payload_missing',
  'backup_altered',
])

async function recordOutcome(
  { catalog }: VerifyBackupOptions,
  backup: StoredBackup,
  { backupId, destination, level, verifiedAt: at }: Omit<VerifyReport, 'level'> & Reach,
): Promise<void> {
  if (catalog === undefined) return
  const known = await catalog.backup(backupId, destination)
  const isRecorded = known !== undefined && known.deletedAt === undefined
  await catalog.append(...(isRecorded ? [] : [backup.recordedAt(at, 'rebuild')]), { type: 'backup-verified', at, backupId, destination, level })
}

/** Records damage, and returns the error to throw: the damage, combined with a failure to record it. */
async function recordDamage(
  { catalog, destination, backupId, clock = Date.now }: VerifyBackupOptions,
  backup: StoredBackup | undefined,
  { error, level }: { readonly error: unknown; readonly level: RecordedLevel },
): Promise<unknown> {
  if (catalog === undefined) return error
  const at = new Date(clock()).toISOString()
  const write = async (): Promise<void> => {
    const known = await catalog.backup(backupId, destination.url)
    if (known === undefined && backup === undefined) return
    if (known === undefined && backup !== undefined) await catalog.append(backup.recordedAt(at, 'rebuild'))
    await catalog.append({ type: 'backup-verified', at, backupId, destination: destination.url, level, error: jobErrorOf(error) })
  }
  return await failureAfter(error, write, 'that could not be recorded')
}
