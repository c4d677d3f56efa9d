/** Checks a stored backup against its manifest. */
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

/** The number of control frames: header and trailer. */
const CONTROL_FRAMES = 2

export interface VerifyProgress {
  readonly step: VerifyStep
  /** Bytes read by the step so far. */
  readonly bytes: number
  /** About how many bytes the step will read in all; 0 for none. */
  readonly totalBytes: number
  readonly records: number
  /** The average since the step began. */
  readonly bytesPerSecond: number
}

export interface CheckBackupOptions {
  /**
   * `manifest`: the manifest is valid and the objects have the sizes in it. `checksum`: also reads all stored bytes once; every frame,
   * count and digest agrees. `restore`: like `checksum`, and compares a trial restore record by record. `payloads`: like `checksum`, and
   * checks that every payload of the backup is in the payload store.
   * @default 'checksum'
   */
  readonly level?: VerificationLevel | undefined
  /** Opens an empty store for level `restore`; it is discarded afterwards. Its schema version must be that of the backup. */
  readonly openTrial?: ((manifest: Manifest) => Promise<TrialStore>) | undefined
  /** The payload store for level `payloads`. */
  readonly payloads?: PayloadStore | undefined
  /** Ends the check, which then rejects with the signal's reason. */
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
  /** Stored bytes read and hashed. */
  readonly bytes: number
  /** Frames checked; 0 at level `manifest`. */
  readonly frames: number
  readonly durationMs: number
  readonly bytesPerSecond: number
}

/**
 * Checks an opened backup and resolves with a report. Changes nothing at the destination, and yields to the event loop about every
 * millisecond. Rejects as `verifyBackup` does.
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

/** Throws a `TypeError` for an unknown level, and for a level without the option that it needs. */
export function checkOptions({ level = 'checksum', openTrial, payloads }: CheckBackupOptions): void {
  if (!VERIFICATION_LEVELS.includes(level)) throw new TypeError(`level must be one of ${VERIFICATION_LEVELS.join(', ')}`)
  if (level === 'restore' && openTrial === undefined) throw new TypeError('Level "restore" needs openTrial')
  if (level === 'payloads' && payloads === undefined) throw new TypeError('Level "payloads" needs payloads')
}

/** Checks to a level, and resolves with the number of frames. */
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
  /** Collects the digest of the records. */
  readonly content: ContentDigest | undefined
  readonly onProgress: (progress: { readonly bytes: number; readonly records: number }) => void
}

/**
 * Reads both objects once, whole, and checks that every byte, frame, count and digest agrees with manifest, header and trailer. Resolves
 * with the number of frames.
 */
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
