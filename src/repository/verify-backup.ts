/** Is a stored backup what it says it is? */
import { checkBackupId } from '../util/ulid.ts'
import type { Catalog, VerificationLevel } from '../contracts/catalog.ts'
import { VERIFICATION_LEVELS } from '../contracts/catalog.ts'
import { jobErrorOf } from '../catalog/job-log.ts'
import type { Destination } from '../contracts/destination.ts'
import { failureAfter } from '../errors/clean-up.ts'
import { type ErrorCode, isHoldfastError } from '../errors/errors.ts'
import { checkPayloadsExist } from '../payload-stores/check-payloads.ts'
import { decodePayloadIdBatches } from '../payload-ids/payload-id-set.ts'
import type { PayloadStore } from '../contracts/payload-store.ts'
import type { Manifest } from '../contracts/manifest.ts'
import { parseManifest } from '../format/manifest.ts'
import { checkObjects, checkSizes, type StoredBackup } from './check-stored.ts'
import { ContentDigest } from '../format/content-digest.ts'
import { Meter } from '../util/meter.ts'
import { type TrialStore, tryRestore } from './trial-restore.ts'

export type { TrialStore, VerificationLevel }

/** In order; a level takes the first of them. */
export const VERIFY_STEPS = ['manifest', 'objects', 'trial-restore', 'trial-check', 'payloads'] as const
export type VerifyStep = (typeof VERIFY_STEPS)[number]

export interface VerifyProgress {
  readonly step: VerifyStep
  /** Bytes that the step has read. */
  readonly bytes: number
  /** Bytes that it will read in all, about; 0 where it reads none. */
  readonly totalBytes: number
  readonly records: number
  /** Since the step began. */
  readonly bytesPerSecond: number
}

export interface VerifyBackupOptions {
  readonly destination: Destination
  readonly backupId: string
  /**
   * `manifest`: the manifest is valid and the objects have the sizes it says. `checksum`: all stored bytes are read once, and every frame, count and
   * digest agrees. `restore`: on top of that the backup is restored into an empty store, whose content is compared record by record. `payloads`:
   * as `checksum`, and every payload that the backup refers to is in the payload store.
   * @default 'checksum'
   */
  readonly level?: VerificationLevel | undefined
  /** Makes the empty store for `restore`; it is discarded afterwards. Its schema version must be that of the store that was backed up. */
  readonly openTrial?: ((manifest: Manifest) => Promise<TrialStore>) | undefined
  /** Where the payloads should be, for `payloads`. */
  readonly payloads?: PayloadStore | undefined
  /** Where the outcome is recorded: that the backup is good, or that it is damaged. */
  readonly catalog?: Catalog | undefined
  /** Ends the verification; it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: VerifyProgress) => void) | undefined
  /** The time in milliseconds since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined
}

export interface VerifyReport {
  readonly backupId: string
  /** URL of the destination. */
  readonly destination: string
  readonly level: VerificationLevel
  readonly manifest: Manifest
  /** When the verification ended: ISO 8601 in UTC. */
  readonly verifiedAt: string
  /** Stored bytes that were read and hashed. */
  readonly bytes: number
  /** Frames that were checked; 0 at level `manifest`. */
  readonly frames: number
  readonly durationMs: number
  readonly bytesPerSecond: number
}

/**
 * Verifies a published backup and resolves with what was checked. Changes nothing at the destination, and does not hold up the
 * event loop: it reads in pieces of about a millisecond.
 *
 * Rejects with `manifest_missing`, `manifest_invalid`, `manifest_version_unsupported`, `backup_incomplete`, `restore_corrupt` (with the byte
 * offset and the frame of the first fault), `checksum_mismatch`, `payload_missing`, what the destination, the trial store and the payload store reject
 * with, and the signal's reason. Throws a `TypeError` for level `restore` without `openTrial`, and for `payloads` without `payloads`.
 */
export async function verifyBackup(options: VerifyBackupOptions): Promise<VerifyReport> {
  const { destination, backupId, level = 'checksum', openTrial, signal, clock = Date.now } = options
  checkBackupId(backupId)
  if (!VERIFICATION_LEVELS.includes(level)) throw new TypeError(`level must be one of ${VERIFICATION_LEVELS.join(', ')}`)
  if (level === 'restore' && openTrial === undefined) throw new TypeError('Level "restore" needs openTrial')
  if (level === 'payloads' && options.payloads === undefined) throw new TypeError('Level "payloads" needs payloads')
  signal?.throwIfAborted()
  const startedMs = performance.now()
  let manifest: Manifest | undefined
  try {
    manifest = parseManifest(await destination.manifest(backupId, { signal }), backupId)
    const frames = await check({ destination, manifest }, { ...options, level })
    const durationMs = performance.now() - startedMs
    const bytes = level === 'manifest' ? 0 : manifest.payload.bytes + manifest.payloadIds.bytes
    const verifiedAt = new Date(clock()).toISOString()
    const report = { backupId, destination: destination.url, level, manifest, verifiedAt, bytes, frames, durationMs, bytesPerSecond: (bytes * 1000) / durationMs }
    await record(options, report)
    return report
  } catch (error) {
    // The trial store's own word for it.
    if (signal?.aborted === true && isHoldfastError(error) && error.code === 'backup_aborted') throw signal.reason
    throw isDamage(error) ? await recordDamage(options, { manifest, error }) : error
  }
}

/** Whether an error says that a stored backup is not good, and not only that it could not be read. */
export function isDamage(error: unknown): boolean {
  return isHoldfastError(error) && DAMAGE.has(error.code)
}

const DAMAGE: ReadonlySet<ErrorCode> = new Set(['restore_corrupt', 'checksum_mismatch', 'backup_incomplete', 'manifest_invalid', 'manifest_missing', 'payload_missing'])

/** Resolves with the number of frames. */
async function check(backup: StoredBackup, { level, openTrial, payloads, signal, onProgress }: VerifyBackupOptions): Promise<number> {
  const { payload, payloadIds } = backup.manifest
  const meter = new Meter<VerifyStep>((step, progress) => onProgress?.({ step, ...progress }))
  meter.begin('manifest')
  await checkSizes(backup, { signal })
  if (level === 'manifest') return 0
  const content = level === 'restore' ? new ContentDigest() : undefined
  meter.begin('objects', payload.bytes + payloadIds.bytes)
  const { frames } = await checkObjects(backup, {
    signal,
    onProgress: (progress) => meter.update(progress),
    onFrame: content === undefined ? undefined : (frame, section) => content.add(frame, section),
  })
  if (content !== undefined && openTrial !== undefined) {
    const onTrial = (step: VerifyStep, progress: { readonly bytes: number; readonly records: number }): void => {
      if (meter.phase !== step) meter.begin(step, payload.bytes)
      meter.update(progress)
    }
    await tryRestore(backup, { openTrial, content, signal, onProgress: onTrial })
  }
  if (level === 'payloads' && payloads !== undefined) {
    meter.begin('payloads')
    const { destination, manifest } = backup
    const payloadIds = decodePayloadIdBatches(destination.open(manifest.backupId, 'payload-ids', { signal }))
    await checkPayloadsExist(payloadIds, { payloads, what: `backup ${manifest.backupId}`, signal, onProgress: (records) => meter.update({ bytes: 0, records }) })
  }
  meter.end()
  return frames
}

async function record({ catalog }: VerifyBackupOptions, { backupId, destination, manifest, level, verifiedAt: at }: VerifyReport): Promise<void> {
  if (catalog === undefined) return
  const place = { backupId, destination, at }
  const known = await catalog.backup(backupId, destination)
  const isRecorded = known !== undefined && known.deletedAt === undefined
  await catalog.append(...(isRecorded ? [] : [{ type: 'backup-recorded', ...place, manifest, how: 'rebuild' } as const]), { type: 'backup-verified', ...place, level })
}

/** Returns the error, or, when it could not be recorded, both. */
async function recordDamage(
  { catalog, destination, backupId, level = 'checksum', clock = Date.now }: VerifyBackupOptions,
  { manifest, error }: { readonly manifest: Manifest | undefined; readonly error: unknown },
): Promise<unknown> {
  if (catalog === undefined) return error
  const place = { backupId, destination: destination.url, at: new Date(clock()).toISOString() }
  const write = async (): Promise<void> => {
    const known = await catalog.backup(backupId, destination.url)
    if (known === undefined && manifest === undefined) return
    if (known === undefined && manifest !== undefined) await catalog.append({ type: 'backup-recorded', ...place, manifest, how: 'rebuild' })
    await catalog.append({ type: 'backup-verified', ...place, level, error: jobErrorOf(error) })
  }
  return await failureAfter(error, write, 'that could not be recorded')
}
