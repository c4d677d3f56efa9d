/** Runs one backup attempt, end to end. */
import { COMPRESSIONS, type Backupable, type Compression, isBackupable, type SnapshotProgress } from '../contracts/backupable.ts'
import { loadZstd } from '../format/compression.ts'
import type { Catalog } from '../contracts/catalog.ts'
import type { JobLog } from '../catalog/job-log.ts'
import { abortTextOf, JOB_HOOKS, type JobHooks, runJob } from '../catalog/run-job.ts'
import type { BackupUpload, Destination } from '../contracts/destination.ts'
import { CATALOG, DESTINATION, PAYLOAD_STORE } from '../contracts/kinds.ts'
import { toAborted } from '../errors/aborts.ts'
import { closing, undoOnError } from '../errors/clean-up.ts'
import { toError } from '../errors/error-message.ts'
import { BackupAlreadyRunningError, BackupUnsupportedError, ChecksumMismatchError } from '../errors/errors.ts'
import { checkPayloadsExist } from '../payload-stores/check-payloads.ts'
import { HOLDS, type Holds } from '../gc/holds/holds.ts'
import { type HeldLease, Leases, releaseAfter, warnOfLease } from '../gc/leases/leases.ts'
import type { PayloadIdSet } from '../payload-ids/payload-id-set.ts'
import type { PayloadStore } from '../contracts/payload-store.ts'
import { type Manifest, recordCount } from '../contracts/manifest.ts'
import { publishFailure } from './publish-failure.ts'
import { checkLabels, encodeManifest, manifestOf } from '../format/manifest.ts'
import { Meter, type Measured, type PhaseTime } from '../util/meter.ts'
import { beyondWarning, isBeyondClocks, isNotThere, newestListed, nextBackupId } from './next-backup-id.ts'
import { takeSnapshot } from './take-snapshot.ts'
import { checkBackup, type VerifyReport } from '../repository/check-backup.ts'
import { cleanUp, destinationWarnings, startUpload } from '../repository/destination-calls.ts'
import { openBackup, type StoredBackup } from '../repository/stored-backup.ts'
import { FUNCTION, NUMBER, OBJECT, type OptionKinds, SIGNAL, CLOCK, SYNC_FUNCTION, checkOptions, oneOf, optional } from '../util/check-options.ts'
import { sha256Of } from '../util/checked-bytes.ts'

/** The phases of a backup, in order. */
export const BACKUP_PHASES = ['snapshot', 'payload-ids', 'publish', 'verify', 'record'] as const
export type BackupPhase = (typeof BACKUP_PHASES)[number]

/** The progress of a backup. Reported at the begin and the end of each phase, and at most 20 times a second in between. */
export interface BackupProgress extends Measured {
  readonly phase: BackupPhase
  readonly backupId: string
}

export interface RunBackupOptions extends JobHooks {
  /** The store to back up; it stays in service. */
  readonly store: Backupable
  readonly destination: Destination
  /** Where the attempt and the backup are recorded. @default nowhere */
  readonly catalog?: Catalog | undefined
  /**
   * Keeps the payloads of the snapshot from being deleted until the backup is published. @default leases in the catalog, each of which
   * holds everything until the backup ends; without a catalog, the caller must see that nothing deletes payloads meanwhile
   */
  readonly holds?: Holds | undefined
  /** Publishes nothing unless every payload of the snapshot is in this store. Costs one check per payload. @default not checked */
  readonly payloads?: PayloadStore | undefined
  /** Labels for the manifest: at most 64; names of lower-case letters, digits and "._/-", values of at most 256 characters. */
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** Ends the attempt with `backup_aborted`, whose cause is the signal's reason. The signal has no effect while the backup is recorded. */
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: BackupProgress) => void) | undefined
  /** `zstd` makes a backup of records about a fifth as large; reading it needs a Node or a package with zstd. @default 'none' */
  readonly compress?: Compression | undefined
  /** The most bytes per second to take from the store. Reading back is not limited. @default unlimited */
  readonly maxBytesPerSecond?: number | undefined
  /** The time in milliseconds since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined
  /** Makes an ID for a time, greater than earlier ones. @default newUlid */
  readonly newId?: ((nowMs: number) => string) | undefined
}

/** A backup that was published, read back and recorded. */
export interface BackupRecord {
  readonly jobId: string
  readonly backupId: string
  /** URL of the destination. */
  readonly destination: string
  readonly manifest: Manifest
  /** ISO 8601 in UTC. */
  readonly startedAt: string
  readonly endedAt: string
  /** Whether the destination listed no backup before this one. */
  readonly isFirst: boolean
  /** The result of reading the backup back. */
  readonly verification: VerifyReport
  readonly phases: readonly PhaseTime<BackupPhase>[]
  /**
   * Harmless failures, such as leftovers that could not be removed or progress that could not be recorded, and those of the destination.
   */
  readonly warnings: readonly Error[]
}

const OPTIONS: OptionKinds<RunBackupOptions> = {
  ...JOB_HOOKS,
  store: OBJECT,
  destination: DESTINATION,
  catalog: optional(CATALOG),
  holds: optional(HOLDS),
  payloads: optional(PAYLOAD_STORE),
  labels: optional(OBJECT),
  signal: optional(SIGNAL),
  onProgress: optional(FUNCTION),
  compress: optional(oneOf(COMPRESSIONS)),
  maxBytesPerSecond: optional(NUMBER),
  clock: optional(CLOCK),
  newId: optional(SYNC_FUNCTION),
}

const running = new WeakSet<Backupable>()
/** How often a long phase is recorded in the catalog. */
const RECORD_INTERVAL_MS = 5000

/**
 * Takes a backup: job row, lease on the payloads, snapshot, payload IDs, manifest, publish; then reads everything back, and records the
 * success only if all of it matches. First removes leftovers at the destination that are older than a day.
 *
 * The job ends as `succeeded`, `failed`, or, when the signal aborted, `interrupted`; the rejection has its ID (`jobIdOf`). A failure before
 * publishing leaves nothing. A failure after it says what is there: a backup that does not match is deleted again; one that could not be
 * read back or recorded stays, and the hint says how to go on.
 *
 * Rejects with `backup_unsupported` when the store has no backups, `backup_already_running` for a second one of the same store handle,
 * `invalid_argument` for labels, `backup_aborted`, `catalog_unavailable`, `hold_unavailable` when a running sweep does not answer,
 * `payload_missing`, what the store and the destination reject with, and `restore_corrupt`, `checksum_mismatch`, `backup_incomplete` for a
 * backup that does not match. A failed clean-up is combined with the first failure.
 */
export async function runBackup(options: RunBackupOptions): Promise<BackupRecord> {
  checkOptions('runBackup', options, OPTIONS)
  const { store, destination, compress, maxBytesPerSecond, signal } = options
  if (maxBytesPerSecond !== undefined && !(maxBytesPerSecond > 0)) throw new RangeError(`maxBytesPerSecond must be greater than 0, got ${maxBytesPerSecond}`)
  if (!isBackupable(store)) throw new BackupUnsupportedError('Cannot back up the store: it has no backup and restore')
  const labels = checkLabels(options.labels ?? {})
  if (compress === 'zstd') await loadZstd('write')
  if (running.has(store)) throw new BackupAlreadyRunningError('Cannot back up the store: another backup of it is running')
  if (signal?.aborted === true) throw toAborted(signal.reason, signal, abortTextOf('backup'))
  running.add(store)
  try {
    const job = { kind: 'backup', storeKind: store.kind, storeId: store.storeId, destination: destination.url } as const
    return await runJob(job, options, (log) => new BackupRun({ ...options, labels }, log).run())
  } finally {
    running.delete(store)
  }
}

type RunOptions = RunBackupOptions & { readonly labels: Readonly<Record<string, string>> }

interface PublishedManifest {
  readonly manifest: Manifest
  readonly manifestBytes: Uint8Array
}

class BackupRun {
  readonly #options: RunOptions
  readonly #log: JobLog
  readonly #clock: () => number
  readonly #meter: Meter<BackupPhase>
  readonly #warnings: Error[] = []
  readonly #leases: Leases | undefined
  #lease: HeldLease | undefined
  /** `open` while the manifest is being published, and after that failed. */
  #isListed: 'no' | 'open' | 'yes' = 'no'
  #isFirst = false
  #backupId = ''
  /** Records of the phase so far, and about how many bytes it has in all, as the store or the phase before says. */
  #snapshot: Omit<SnapshotProgress, 'bytes'> = { records: 0 }
  #recordedMs = 0

  constructor(options: RunOptions, log: JobLog) {
    this.#options = options
    this.#log = log
    this.#clock = options.clock ?? Date.now
    const { catalog, holds } = options
    this.#leases = holds?.leases ?? (catalog && new Leases({ catalog, clock: this.#clock }))
    this.#meter = new Meter((phase, measured) => options.onProgress?.({ phase, backupId: this.#backupId, ...measured }))
  }

  async run(): Promise<BackupRecord> {
    try {
      const published = await this.#publish()
      const record = await this.#finish(published)
      await this.#handOver()
      return { ...record, warnings: [...this.#warnings, ...destinationWarnings(this.#options.destination), ...this.#log.warnings] }
    } catch (error) {
      throw await this.#release(error)
    }
  }

  /** Does everything until the backup is listed. */
  async #publish(): Promise<PublishedManifest> {
    const { store, destination, signal, newId } = this.#options
    const newest = await this.#findNewest(await this.#removeLeftovers())
    const leases = await this.#leases?.reconcile()
    this.#warnings.push(...(leases?.unproven.map(warnOfLease) ?? []))
    this.#isFirst = newest === undefined
    this.#backupId = nextBackupId(newest, { nowMs: this.#clock(), newId })
    this.#lease = await this.#leases?.protect({ purpose: 'backup', storeId: store.storeId, backupId: this.#backupId, signal })
    await this.#begin('snapshot')
    const upload = await startUpload(destination, this.#backupId, { signal })
    const left = `the upload ${this.#backupId} could not be removed; a later backup removes it`
    return await undoOnError(() => this.#send(upload), () => upload.abort(), left)
  }

  /** Sends the three objects: stream, payload IDs, manifest. */
  async #send(upload: BackupUpload): Promise<PublishedManifest> {
    const { store, labels, compress, payloads, signal, maxBytesPerSecond } = this.#options
    const backupId = this.#backupId
    const onProgress = (progress: SnapshotProgress): void => void (this.#snapshot = progress)
    let bytes = 0
    const write = async (chunk: Uint8Array): Promise<void> => {
      await upload.write('payload', chunk)
      await this.#written((bytes += chunk.byteLength))
    }
    const { summary, payloadIds } = await takeSnapshot(store, { write, onProgress, backupId, compress, signal, maxBytesPerSecond })
    const { storeId } = summary
    const payloadIdsBytes = await closing(payloadIds, async () => {
      await this.#begin('payload-ids', { storeId, records: payloadIds.size })
      await this.#lease?.narrow(payloadIds)
      if (payloads !== undefined) await checkPayloadsExist(payloadIds.batches(), { payloads, what: 'the snapshot', signal })
      return await this.#sendPayloadIds(upload, payloadIds)
    })
    await this.#begin('publish', { storeId })
    signal?.throwIfAborted()
    const manifest = manifestOf(summary, { backupId, labels, payloadIdsBytes })
    const manifestBytes = encodeManifest(manifest)
    this.#isListed = 'open'
    await upload.publish(manifestBytes)
    this.#isListed = 'yes'
    return { manifest, manifestBytes }
  }

  /** Sends the payload IDs, and resolves with their encoded size. */
  async #sendPayloadIds(upload: BackupUpload, payloadIds: PayloadIdSet): Promise<number> {
    let bytes = 0
    for await (const chunk of payloadIds.encoded()) {
      this.#options.signal?.throwIfAborted()
      await upload.write('payload-ids', chunk)
      await this.#written((bytes += chunk.byteLength))
    }
    return bytes
  }

  /** Reads the published backup back and records it. */
  async #finish({ manifest, manifestBytes }: PublishedManifest): Promise<BackupRecord> {
    const { destination, signal, clock } = this.#options
    const { backupId } = manifest
    let verification: VerifyReport | undefined
    try {
      await this.#begin('verify', { totalBytes: manifest.payload.bytes + manifest.payloadIds.bytes })
      const backup = await this.#readBack(manifestBytes)
      // The writer has checked what it wrote, and the digests show that nothing else is stored.
      verification = await checkBackup(backup, { level: 'checksum', signal, clock, onProgress: (progress) => this.#meter.update(progress) })
      this.#meter.begin('record')
      const at = verification.verifiedAt
      const done = this.#log.progressed({ phase: 'record', bytes: manifest.payload.bytes, records: recordCount(manifest) })
      await this.#log.succeed(done, backup.recordedAt(at, 'backup'), {
        type: 'backup-verified',
        at,
        backupId,
        destination: destination.url,
        level: verification.level,
      })
    } catch (error) {
      throw await publishFailure(error, { destination, backupId, isVerified: verification !== undefined, signal })
    }
    try {
      this.#meter.end()
    } catch (error) {
      // The backup is recorded: what a progress callback throws now cannot make it fail.
      this.#warnings.push(toError(error))
    }
    const { jobId, startedAt } = this.#log
    const url = destination.url
    return { jobId, backupId, destination: url, manifest, startedAt, endedAt: this.#log.now(), isFirst: this.#isFirst, verification, phases: this.#meter.times, warnings: [] }
  }

  /** Releases the lease: the manifest holds the payloads now. A lease that stays is harmless. */
  async #handOver(): Promise<void> {
    try {
      await this.#lease?.release('handed-over')
    } catch (error) {
      this.#warnings.push(toError(error))
    }
  }

  /** Releases the lease after a failure, and resolves with the error to throw. */
  async #release(error: unknown): Promise<unknown> {
    // A published backup holds its payloads itself.
    if (this.#isListed !== 'open') return await releaseAfter(error, this.#lease)
    // The manifest may still arrive, though publishing failed.
    this.#lease?.abandon()
    return error
  }

  async #readBack(manifestBytes: Uint8Array): Promise<StoredBackup> {
    const { destination, signal } = this.#options
    const backup = await openBackup({ destination, backupId: this.#backupId, signal })
    if (backup.manifestSha256 === sha256Of(manifestBytes)) return backup
    throw new ChecksumMismatchError(`Cannot use backup ${backup.backupId}: its manifest differs from the one that was written`)
  }

  /**
   * Removes leftovers of crashed attempts; a failure is only a warning. Resolves with the newest listed ID, which most drivers report with
   * the clean-up: `null` for none, `undefined` for unknown.
   */
  async #removeLeftovers(): Promise<string | null | undefined> {
    const { destination, signal } = this.#options
    try {
      return (await cleanUp(destination, { signal, nowMs: this.#clock() })).newest
    } catch (error) {
      signal?.throwIfAborted()
      if (isNotThere(error)) return null
      this.#warnings.push(toError(error))
      return undefined
    }
  }

  /** Finds the newest ID that the next must be greater than, and warns of one that cannot be. */
  async #findNewest(reported: string | null | undefined): Promise<string | undefined> {
    const { destination, signal } = this.#options
    const nowMs = this.#clock()
    if (reported === null || (reported !== undefined && !isBeyondClocks(reported, nowMs))) return reported ?? undefined
    const { newest, beyond } = await newestListed(destination, { nowMs, signal })
    if (beyond !== undefined) this.#warnings.push(beyondWarning(beyond, destination))
    return newest
  }

  async #begin(
    phase: BackupPhase,
    { storeId, records = 0, totalBytes = 0 }: { readonly storeId?: string; readonly records?: number; readonly totalBytes?: number } = {},
  ): Promise<void> {
    this.#snapshot = { records }
    this.#recordedMs = performance.now()
    this.#meter.begin(phase, totalBytes)
    await this.#log.progress({ phase, bytes: 0, records, backupId: this.#backupId, storeId })
  }

  /** Called after each write to the destination, with the bytes of the phase so far. */
  async #written(bytes: number): Promise<void> {
    const { phase } = this.#meter
    const { records, totalBytes } = this.#snapshot
    this.#meter.update({ bytes, records, totalBytes })
    if (phase === undefined || performance.now() - this.#recordedMs < RECORD_INTERVAL_MS) return
    this.#recordedMs = performance.now()
    await this.#log.progress({ phase, bytes, records })
  }
}
