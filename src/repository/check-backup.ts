/** Checks a stored backup against its manifest. */
import { setImmediate } from 'node:timers/promises'
import { type RecordedLevel, VERIFICATION_LEVELS, type VerificationLevel } from '../contracts/catalog.ts'
import { PAYLOAD_STORE } from '../contracts/kinds.ts'
import { type Manifest, recordCount } from '../contracts/manifest.ts'
import type { PayloadStore } from '../contracts/payload-store.ts'
import { toReason } from '../errors/aborts.ts'
import { ContentDigest } from '../format/content-digest.ts'
import { checkRecordForm } from '../format/record-order.ts'
import type { ContentCheck, FrameSource } from '../format/snapshot-reader.ts'
import { decodePayloadIdBatches } from '../payload-ids/payload-id-set.ts'
import { checkPayloadsExist } from '../payload-stores/check-payloads.ts'
import { FUNCTION, type OptionKinds, SIGNAL, CLOCK, oneOf, optional } from '../util/check-options.ts'
import { Meter } from '../util/meter.ts'
import type { StoredBackup } from './stored-backup.ts'
import { type TrialStore, tryRestore } from './trial-restore.ts'

export type { TrialStore, VerificationLevel }

/** The steps of a verification, in order; each level takes some of them. */
export const VERIFY_STEPS = ['manifest', 'objects', 'trial-restore', 'trial-check', 'payloads'] as const
export type VerifyStep = (typeof VERIFY_STEPS)[number]

export const DEFAULT_LEVEL: VerificationLevel = 'content'

/**
 * How far a verification went into the content of a stream. `all`: every rule that can be checked without a store. `form`: that records
 * decode and are in order; what they mean is known to their maker. `none`: only bytes, frames, counts and digests.
 */
export type CheckedContent = 'all' | 'form' | 'none'

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
   * count and digest agrees. `content`: also decodes them, and applies the rules that a restore applies: see `contentCheck`. `restore`:
   * like `checksum`, and compares a trial restore record by record. `payloads`: like `content`, and checks that every payload of the backup
   * is in the payload store.
   * @default 'content'
   */
  readonly level?: VerificationLevel | undefined
  /**
   * Finds the rules for the content of a backup, for the levels `content` and `payloads`: `findContentCheck` of "holdfast/registry", or one
   * for a store of your own. Where it finds none, records are checked for their form and order, and an archive is not read: level `content`
   * is then `checksum`, as the report says.
   * @default no rules are known
   */
  readonly contentCheck?: ((manifest: Manifest) => Promise<ContentCheck | undefined>) | undefined
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

export const CHECK_OPTIONS: OptionKinds<CheckBackupOptions> = {
  level: optional(oneOf(VERIFICATION_LEVELS)),
  contentCheck: optional(FUNCTION),
  openTrial: optional(FUNCTION),
  payloads: optional(PAYLOAD_STORE),
  signal: optional(SIGNAL),
  onProgress: optional(FUNCTION),
  clock: optional(CLOCK),
}

export interface VerifyReport {
  readonly backupId: string
  /** URL of the destination. */
  readonly destination: string
  /** The level that was reached: `checksum` instead of `content` where the content could not be read. */
  readonly level: VerificationLevel
  readonly checkedContent: CheckedContent
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
 * Checks an opened backup and resolves with a report. Changes nothing at the destination, and yields to the event loop every few
 * milliseconds. Rejects as `verifyBackup` does.
 */
export async function checkBackup(backup: StoredBackup, options: CheckBackupOptions = {}): Promise<VerifyReport> {
  return await checkReaching(backup, options, { level: 'manifest' })
}

/** How thorough a check is by now: the lowest level that finds what it finds next, with the same rules for the content. */
export interface Reach {
  level: RecordedLevel
}

/** Checks as `checkBackup` does. `reach` tells at the end what was reached, and after a failure what level found the fault. */
export async function checkReaching(backup: StoredBackup, options: CheckBackupOptions, reach: Reach): Promise<VerifyReport> {
  const { level: wanted = DEFAULT_LEVEL, signal, clock = Date.now } = options
  checkLevel(options)
  signal?.throwIfAborted()
  const startedMs = performance.now()
  try {
    const { frames, checkedContent } = await check(backup, { ...options, level: wanted }, reach)
    const level = wanted === 'content' && checkedContent === 'none' ? 'checksum' : wanted
    const durationMs = performance.now() - startedMs
    const { backupId, url: destination, manifest } = backup
    const bytes = level === 'manifest' ? 0 : manifest.payload.bytes + manifest.payloadIds.bytes
    const verifiedAt = new Date(clock()).toISOString()
    return { backupId, destination, level, checkedContent, manifest, verifiedAt, bytes, frames, durationMs, bytesPerSecond: (bytes * 1000) / durationMs }
  } catch (error) {
    throw toReason(error, signal)
  }
}

/** Throws a `TypeError` for a level without the option that it needs. */
export function checkLevel({ level, openTrial, payloads }: CheckBackupOptions): void {
  if (level === 'restore' && openTrial === undefined) throw new TypeError('Level "restore" needs openTrial')
  if (level === 'payloads' && payloads === undefined) throw new TypeError('Level "payloads" needs payloads')
}

/** What a check of the objects is recorded as. */
const RECORDED: Readonly<Record<CheckedContent, RecordedLevel>> = { all: 'content', form: 'form', none: 'checksum' }

interface Checked {
  readonly frames: number
  readonly checkedContent: CheckedContent
}

/** Checks to a level. */
async function check(
  backup: StoredBackup,
  { level, openTrial, payloads, contentCheck, signal, onProgress }: CheckBackupOptions,
  reach: Reach,
): Promise<Checked> {
  const { payload, payloadIds } = backup.manifest
  const meter = new Meter<VerifyStep>((step, progress) => onProgress?.({ step, ...progress }))
  meter.begin('manifest')
  await backup.checkSizes({ signal })
  if (level === 'manifest') return { frames: 0, checkedContent: 'none' }
  const digest = level === 'restore' ? new ContentDigest() : undefined
  const [checkedContent, contentRules] = await findRules(backup.manifest, { level, contentCheck })
  reach.level = level === 'restore' ? 'checksum' : RECORDED[checkedContent]
  meter.begin('objects', payload.bytes + payloadIds.bytes)
  const frames = await checkObjects(backup, { signal, check: contentRules, digest, onProgress: (progress) => meter.update(progress) })
  if (digest !== undefined && openTrial !== undefined) {
    reach.level = 'restore'
    const onTrial = (step: VerifyStep, progress: { readonly bytes: number; readonly records: number }): void => {
      if (meter.phase !== step) meter.begin(step, payload.bytes)
      meter.update(progress)
    }
    await tryRestore(backup, { openTrial, content: digest, signal, onProgress: onTrial })
  }
  if (level === 'payloads' && payloads !== undefined) {
    reach.level = 'payloads'
    meter.begin('payloads')
    const onRecords = (records: number): void => meter.update({ bytes: 0, records })
    await checkPayloadsExist(decodePayloadIdBatches(backup.read('payload-ids', { signal })), {
      payloads,
      what: `backup ${backup.backupId}`,
      signal,
      onProgress: onRecords,
    })
  }
  meter.end()
  return { frames, checkedContent }
}

/** Finds what is checked of the content of a backup, and by what. */
async function findRules(
  manifest: Manifest,
  { level, contentCheck }: Pick<CheckBackupOptions, 'level' | 'contentCheck'>,
): Promise<readonly [CheckedContent, ContentCheck]> {
  if (level === 'checksum') return ['none', readFrames]
  // The trial store applies its own rules.
  if (level === 'restore') return ['all', readFrames]
  const check = await contentCheck?.(manifest)
  if (check !== undefined) return ['all', check]
  return manifest.content === 'records' ? ['form', checkRecordForm] : ['none', readFrames]
}

interface CheckObjectsOptions {
  readonly signal: AbortSignal | undefined
  readonly check: ContentCheck
  /** Collects the digest of the records. */
  readonly digest: ContentDigest | undefined
  readonly onProgress: (progress: { readonly bytes: number; readonly records: number }) => void
}

/**
 * Reads both objects once, whole, and checks that every byte, frame, count and digest agrees with manifest, header and trailer. Resolves
 * with the number of frames.
 */
async function checkObjects(backup: StoredBackup, { signal, check, digest, onProgress }: CheckObjectsOptions): Promise<number> {
  const { payload } = backup.manifest
  let read = CONTROL_FRAMES
  let records = 0
  const counted: ContentCheck = async (source) => {
    const frames = async function* (): ReturnType<FrameSource['frames']> {
      for await (const frame of source.frames()) {
        read += 1
        records += frame.records
        digest?.add(frame, source.header.sections[frame.section] ?? '')
        yield frame
        // Decoding a frame is some milliseconds of work.
        if (check !== readFrames) await setImmediate()
      }
    }
    return await check({ header: source.header, frames })
  }
  await backup.checkPayload(counted, { signal, onBytes: (bytes) => onProgress({ bytes, records }) })
  await backup.checkPayloadIds({ signal, onBytes: (bytes) => onProgress({ bytes: payload.bytes + bytes, records: recordCount(backup.manifest) }) })
  return read
}

/** Reads all frames, and looks into none. */
const readFrames: ContentCheck = async (source) => {
  for await (const _ of source.frames());
  return undefined
}
