/** Whether a stored backup is what it says it is. */
import { VERIFICATION_LEVELS, type VerificationLevel } from '../contracts/catalog.ts'
import { type Manifest, recordCount } from '../contracts/manifest.ts'
import type { PayloadStore } from '../contracts/payload-store.ts'
import { toReason } from '../errors/aborts.ts'
import { ContentDigest } from '../format/content-digest.ts'
import { decodePayloadIdBatches } from '../payload-ids/payload-id-set.ts'
import { checkPayloadsExist } from '../payload-stores/check-payloads.ts'
import { Meter } from '../util/meter.ts'
import type { StoredBackup } from './stored-backup.ts'
import { type TrialStore, tryRestore } from './trial-restore.ts'

export type { TrialStore, VerificationLevel }

/** The steps of a verification, in order; each level takes some of them. */
export const VERIFY_STEPS = ['manifest', 'objects', 'trial-restore', 'trial-check', 'payloads'] as const
export type VerifyStep = (typeof VERIFY_STEPS)[number]

/** Header and trailer. */
const CONTROL_FRAMES = 2

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

export interface CheckBackupOptions {
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
  /** Ends the check; it rejects with the signal's reason. */
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
 * Checks an opened backup and resolves with what was checked. Changes nothing at the destination, and does not hold up the event loop: it reads in
 * pieces of about a millisecond. Rejects as `verifyBackup` does.
 */
export async function checkBackup(backup: StoredBackup, options: CheckBackupOptions = {}): Promise<VerifyReport> {
  const { level = 'checksum', signal, clock = Date.now } = options
  checkOptions(options)
  signal?.throwIfAborted()
  const startedMs = performance.now()
  try {
    const frames = await check(backup, { ...options, level })
    const durationMs = performance.now() - startedMs
    const { backupId, url: destination, manifest } = backup
    const bytes = level === 'manifest' ? 0 : manifest.payload.bytes + manifest.payloadIds.bytes
    return { backupId, destination, level, manifest, verifiedAt: new Date(clock()).toISOString(), bytes, frames, durationMs, bytesPerSecond: (bytes * 1000) / durationMs }
  } catch (error) {
    throw toReason(error, signal)
  }
}

/** Throws a `TypeError` for a level that there is not, or that lacks what it needs. */
export function checkOptions({ level = 'checksum', openTrial, payloads }: CheckBackupOptions): void {
  if (!VERIFICATION_LEVELS.includes(level)) throw new TypeError(`level must be one of ${VERIFICATION_LEVELS.join(', ')}`)
  if (level === 'restore' && openTrial === undefined) throw new TypeError('Level "restore" needs openTrial')
  if (level === 'payloads' && payloads === undefined) throw new TypeError('Level "payloads" needs payloads')
}

/** Resolves with the number of frames. */
async function check(backup: StoredBackup, { level, openTrial, payloads, signal, onProgress }: CheckBackupOptions): Promise<number> {
  const { payload, payloadIds } = backup.manifest
  const meter = new Meter<VerifyStep>((step, progress) => onProgress?.({ step, ...progress }))
  meter.begin('manifest')
  await backup.checkSizes({ signal })
  if (level === 'manifest') return 0
  const content = level === 'restore' ? new ContentDigest() : undefined
  meter.begin('objects', payload.bytes + payloadIds.bytes)
  const frames = await checkObjects(backup, { signal, content, onProgress: (progress) => meter.update(progress) })
  if (content !== undefined && openTrial !== undefined) {
    const onTrial = (step: VerifyStep, progress: { readonly bytes: number; readonly records: number }): void => {
      if (meter.phase !== step) meter.begin(step, payload.bytes)
      meter.update(progress)
    }
    await tryRestore(backup, { openTrial, content, signal, onProgress: onTrial })
  }
  if (level === 'payloads' && payloads !== undefined) {
    meter.begin('payloads')
    const onRecords = (records: number): void => meter.update({ bytes: 0, records })
    await checkPayloadsExist(decodePayloadIdBatches(backup.read('payload-ids', { signal })), { payloads, what: `backup ${backup.backupId}`, signal, onProgress: onRecords })
  }
  meter.end()
  return frames
}

interface CheckObjectsOptions {
  readonly signal: AbortSignal | undefined
  /** Takes in what the payload holds. */
  readonly content: ContentDigest | undefined
  readonly onProgress: (progress: { readonly bytes: number; readonly records: number }) => void
}

/** Reads both objects once, whole: every byte, frame, count and digest, and all that manifest, header and trailer say, must agree. Resolves with the number of frames. */
async function checkObjects(backup: StoredBackup, { signal, content, onProgress }: CheckObjectsOptions): Promise<number> {
  const { payload } = backup.manifest
  let frames = CONTROL_FRAMES
  let records = 0
  for await (const [frame, section] of backup.frames({ signal, onBytes: (bytes) => onProgress({ bytes, records }) })) {
    frames += 1
    records += frame.records
    content?.add(frame, section)
  }
  await backup.checkPayloadIds({ signal, onBytes: (bytes) => onProgress({ bytes: payload.bytes + bytes, records: recordCount(backup.manifest) }) })
  return frames
}
