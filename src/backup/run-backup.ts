/** The executor: one backup attempt, end to end. */
import { COMPRESSIONS, type Backupable, type Compression, isBackupable } from '../contracts/backupable.ts'
import type { Catalog } from '../contracts/catalog.ts'
import { JobLog } from '../catalog/job-log.ts'
import type { Destination } from '../contracts/destination.ts'
import { toError } from '../errors/error-message.ts'
import { BackupAbortedError, BackupAlreadyRunningError, BackupUnsupportedError, ChecksumMismatchError, isHoldfastError } from '../errors/errors.ts'
import { checkPayloadsExist } from '../payload-stores/check-payloads.ts'
import { loadZstd } from '../format/compression.ts'
import type { Holds } from '../gc/holds/holds.ts'
import { type HeldLease, Leases, releaseAfter, warnOfLease } from '../gc/leases/leases.ts'
import type { PayloadIdSet } from '../payload-ids/payload-id-set.ts'
import type { PayloadStore } from '../contracts/payload-store.ts'
import type { Manifest } from '../contracts/manifest.ts'
import { afterPublish } from './after-publish.ts'
import { checkLabels } from './labels.ts'
import { Meter, type Measured, type PhaseTime } from '../util/meter.ts'
import { nextBackupId } from './next-backup-id.ts'
import { uploadBackup, type UploadedBackup } from './upload-backup.ts'
import { verifyBackup, type VerifyReport } from '../repository/verify-backup.ts'

/** In order. */
export const BACKUP_PHASES = ['snapshot', 'payload-ids', 'publish', 'verify', 'record'] as const
export type BackupPhase = (typeof BACKUP_PHASES)[number]

/** How far a backup is. Told at the begin and the end of each phase, and at most 20 times a second in between. */
export interface BackupProgress extends Measured {
  readonly phase: BackupPhase
  readonly backupId: string
}

export interface RunBackupOptions {
  /** The store to back up; it goes on reading and writing meanwhile. */
  readonly store: Backupable
  readonly destination: Destination
  /** Where the attempt and the backup are recorded. @default nowhere */
  readonly catalog?: Catalog | undefined
  /**
   * What keeps the payloads of the snapshot from being deleted until the backup is published. @default leases in the catalog, each of which holds
   * everything until the backup ends; without a catalog nothing: then nothing may delete payloads meanwhile
   */
  readonly holds?: Holds | undefined
  /** Where every payload of the snapshot must be; else nothing is published. It costs one look for each. @default it is not looked at */
  readonly payloads?: PayloadStore | undefined
  /** For the manifest: at most 64; names of lower-case letters, digits and "._/-", values of at most 256 characters. */
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** `zstd` makes a backup of records about a fifth as large, and needs a Node or a package that has it to be read. @default 'none' */
  readonly compress?: Compression | undefined
  /** Ends the attempt with `backup_aborted`, until the backup is being recorded; then it is not looked at. */
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: BackupProgress) => void) | undefined
  /** The most bytes per second to take from the store. Reading back is not limited. @default unlimited */
  readonly maxBytesPerSecond?: number | undefined
  /** The time in milliseconds since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined
  /** Makes an ID for a time; those of later calls must be greater. @default newUlid */
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
  /** What reading back found. */
  readonly verification: VerifyReport
  readonly phases: readonly PhaseTime<BackupPhase>[]
  /** What did not go as it should and does no harm, such as leftovers that could not be swept. */
  readonly warnings: readonly Error[]
}

const running = new WeakSet<Backupable>()
/** How often the catalog is told, in a long phase. */
const RECORD_INTERVAL_MS = 5000

/**
 * Takes a backup: job row, lease on the payloads, snapshot, payload IDs, manifest, publish; then reads everything back, and only what matches is recorded as
 * succeeded. Leftovers at the destination that are older than a day are swept first.
 *
 * Whatever happens, the job ends as `succeeded`, `failed`, or, when the signal aborted, `interrupted`. On a failure before the backup is
 * published nothing of it is left. Afterwards the error says what is there: a backup that was read back and does not match is
 * deleted again; one that could not be read back, or not be recorded, stays, and the message says how to go on.
 *
 * Rejects with `backup_unsupported` when the store has no backups, `backup_already_running` for a second one of the same store handle,
 * `invalid_argument` for labels, `backup_aborted`, `catalog_unavailable`, `hold_unavailable` when a running sweep does not let it hold the payloads, `payload_missing`, what the store and the destination reject with, and with
 * `restore_corrupt`, `checksum_mismatch`, `backup_incomplete` for what was read back. A failure while cleaning up is told with the first.
 */
export async function runBackup(options: RunBackupOptions): Promise<BackupRecord> {
  const { store, signal } = options
  if (!isBackupable(store)) throw new BackupUnsupportedError('Cannot back up the store: it has no backup and restore')
  const labels = checkLabels(options.labels ?? {})
  const { compress = 'none' } = options
  if (!COMPRESSIONS.includes(compress)) throw new TypeError(`compress must be one of ${COMPRESSIONS.join(', ')}`)
  if (compress === 'zstd') await loadZstd('write')
  if (running.has(store)) throw new BackupAlreadyRunningError('Cannot back up the store: a backup of it is running')
  if (signal?.aborted === true) throw new BackupAbortedError(undefined, { cause: signal.reason })
  running.add(store)
  try {
    return await new BackupRun({ ...options, labels }).run()
  } finally {
    running.delete(store)
  }
}

type RunOptions = RunBackupOptions & { readonly labels: Readonly<Record<string, string>> }

class BackupRun {
  readonly #options: RunOptions
  readonly #clock: () => number
  readonly #meter: Meter<BackupPhase>
  readonly #warnings: Error[] = []
  readonly #leases: Leases | undefined
  #lease: HeldLease | undefined
  /** Open while the manifest is on its way, and when that failed. */
  #isListed: 'no' | 'open' | 'yes' = 'no'
  #backupId = ''
  #recordedMs = 0

  constructor(options: RunOptions) {
    this.#options = options
    this.#clock = options.clock ?? Date.now
    const { catalog, holds } = options
    this.#leases = holds?.leases ?? (catalog && new Leases({ catalog, clock: this.#clock }))
    this.#meter = new Meter((phase, measured) => options.onProgress?.({ phase, backupId: this.#backupId, ...measured }))
  }

  async run(): Promise<BackupRecord> {
    const { store, destination, catalog } = this.#options
    const log = await JobLog.start({ kind: 'backup', storeKind: store.kind, storeId: storeIdOf(store), destination: destination.url }, { catalog, clock: this.#clock })
    let thrown: unknown
    try {
      const uploaded = await this.#publish(log)
      const record = await this.#finish(log, uploaded)
      await this.#handOver()
      return record
    } catch (error) {
      thrown = await this.#unheld(this.#asAbort(error))
    }
    throw await log.end(isAbort(thrown) ? 'interrupted' : 'failed', thrown)
  }

  /** Until the backup is published. */
  async #publish(log: JobLog): Promise<UploadedBackup> {
    const { store, destination, labels, compress, signal, maxBytesPerSecond, newId } = this.#options
    await this.#cleanUp()
    const leases = await this.#leases?.reconcile()
    this.#warnings.push(...(leases?.unproven.map(warnOfLease) ?? []))
    this.#backupId = await nextBackupId(destination, { nowMs: this.#clock(), newId, signal })
    this.#lease = await this.#leases?.protect({ purpose: 'backup', storeId: storeIdOf(store), backupId: this.#backupId, signal })
    await this.#begin('snapshot', log)
    const uploaded = await uploadBackup({
      store,
      destination,
      backupId: this.#backupId,
      labels,
      compress,
      signal,
      maxBytesPerSecond,
      onPayloadIds: (payloadIds) => this.#captured(payloadIds),
      onPhase: async (phase, { storeId, payloadIds }) => {
        await this.#begin(phase, log, { storeId, records: phase === 'payload-ids' ? payloadIds.count : 0 })
        if (phase === 'publish') this.#isListed = 'open'
      },
      onWritten: (progress) => this.#written(progress, log),
    })
    this.#isListed = 'yes'
    return uploaded
  }

  /** What the snapshot refers to is known: the lease holds that alone from now on. */
  async #captured(payloadIds: PayloadIdSet): Promise<void> {
    const { payloads, signal } = this.#options
    await this.#lease?.narrow(payloadIds)
    if (payloads !== undefined) await checkPayloadsExist(payloadIds.batches(), { payloads, what: 'the snapshot', signal })
  }

  /** From then on. */
  async #finish(log: JobLog, { manifest, manifestBytes }: UploadedBackup): Promise<BackupRecord> {
    const { destination } = this.#options
    const { backupId } = manifest
    let verification: VerifyReport | undefined
    try {
      await this.#begin('verify', log, { totalBytes: manifest.payload.bytes + manifest.payloadIds.bytes })
      verification = await this.#readBack(manifestBytes)
      this.#meter.begin('record')
      const place = { backupId, destination: destination.url, at: verification.verifiedAt }
      const records = Object.values(manifest.records).reduce((sum, count) => sum + count, 0)
      const done = log.progressed({ phase: 'record', bytes: manifest.payload.bytes, records })
      await log.succeed(done, { type: 'backup-recorded', ...place, manifest, how: 'backup' }, { type: 'backup-verified', ...place, level: 'checksum' })
      this.#meter.end()
    } catch (error) {
      throw await afterPublish(this.#asAbort(error), { destination, backupId, isVerified: verification !== undefined })
    }
    const { jobId, startedAt } = log
    return { jobId, backupId, destination: destination.url, manifest, startedAt, endedAt: log.now(), verification, phases: this.#meter.times, warnings: this.#warnings }
  }

  /** The manifest holds the payloads now. That the lease stays too does no harm. */
  async #handOver(): Promise<void> {
    try {
      await this.#lease?.release('handed-over')
    } catch (error) {
      this.#warnings.push(toError(error))
    }
  }

  /** Gives the lease up after a failure, and returns what to throw. */
  async #unheld(error: unknown): Promise<unknown> {
    // What was published holds its payloads itself.
    if (this.#isListed !== 'open') return await releaseAfter(error, this.#lease)
    // What was sent to publish it may still arrive, though it was given up.
    this.#lease?.abandon()
    return error
  }

  async #readBack(manifestBytes: Uint8Array): Promise<VerifyReport> {
    const { destination, signal, clock } = this.#options
    const backupId = this.#backupId
    if (!Buffer.from(manifestBytes).equals(await destination.manifest(backupId, { signal }))) {
      throw new ChecksumMismatchError(`Cannot verify backup ${backupId}: its manifest is not the one that was written`)
    }
    return await verifyBackup({ destination, backupId, level: 'checksum', signal, clock, onProgress: (progress) => this.#meter.update(progress) })
  }

  /** What crashed attempts left; that it stays does no harm. */
  async #cleanUp(): Promise<void> {
    const { destination, signal } = this.#options
    try {
      await destination.cleanUp({ signal, nowMs: this.#clock() })
    } catch (error) {
      signal?.throwIfAborted()
      if (isHoldfastError(error) && error.code === 'destination_not_found') return
      this.#warnings.push(toError(error))
    }
  }

  async #begin(phase: BackupPhase, log: JobLog, { storeId, records = 0, totalBytes = 0 }: { readonly storeId?: string; readonly records?: number; readonly totalBytes?: number } = {}): Promise<void> {
    this.#recordedMs = performance.now()
    this.#meter.begin(phase, totalBytes)
    await log.progress({ phase, bytes: 0, records, backupId: this.#backupId, storeId })
  }

  async #written(progress: { readonly bytes: number; readonly records: number }, log: JobLog): Promise<void> {
    this.#meter.update(progress)
    const { phase } = this.#meter
    if (phase === undefined || performance.now() - this.#recordedMs < RECORD_INTERVAL_MS) return
    this.#recordedMs = performance.now()
    await log.progress({ phase, ...progress })
  }

  /** Whatever was thrown because of the signal, as one error. */
  #asAbort(error: unknown): unknown {
    const { signal } = this.#options
    if (signal?.aborted !== true || isAbort(error)) return error
    const isItsReason = error === signal.reason || (error instanceof Error && error.name === 'AbortError')
    return isItsReason ? new BackupAbortedError(undefined, { cause: signal.reason }) : error
  }
}

function isAbort(error: unknown): boolean {
  return isHoldfastError(error) && error.code === 'backup_aborted'
}

/** Stores that have an ID say so; of others it is known when the snapshot was taken. */
function storeIdOf(store: Backupable): string | undefined {
  return 'storeId' in store && typeof store.storeId === 'string' ? store.storeId : undefined
}
