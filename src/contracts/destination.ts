/**
 * Contract 2: where backups go.
 *
 * A backup is three objects under one ULID: `payload`, `payload-ids` and `manifest.json`. A driver moves bytes and knows nothing of
 * their meaning. In every driver, a backup is visible (listed, readable) exactly when its manifest is; the manifest is written last and
 * deleted first.
 *
 * Errors of every method: `invalid_argument` for an ID that is not a ULID, before a path or key is built from it;
 * `destination_not_found`, `destination_permission_denied`, `destination_unreachable`, `destination_no_space`,
 * `destination_path_conflict` for the state of the root. The error's `retryable` says whether trying again can help.
 *
 * An answer that is not as said here fails the work with `internal`, which names the destination. A call that does not end within 5 seconds
 * after its signal aborted is left behind, an `abort` within a minute; a `delete` that began is waited for.
 */

/** The objects of a backup, without its manifest. */
export const BACKUP_OBJECTS = ['payload', 'payload-ids'] as const
export type BackupObject = (typeof BACKUP_OBJECTS)[number]

/** The most bytes of a manifest; larger ones are neither written nor read. */
export const MAX_MANIFEST_BYTES: number = 64 * 1024

export interface DestinationOptions {
  readonly signal?: AbortSignal | undefined
}

export interface ReadObjectOptions extends DestinationOptions {
  /** Where to begin: a whole number from 0; `open` rejects with `RangeError` for others. @default 0 */
  readonly startByte?: number | undefined
}

/** The upload of one backup, which is not listed before `publish`. */
export interface BackupUpload {
  /**
   * Appends to one object. `payload` comes first and whole, then `payload-ids`. Call again only after the promise
   * resolved; the chunk must not change until then. Rejects after `publish` or `abort`, as `publish` does.
   */
  write(object: BackupObject, chunk: Uint8Array): Promise<void>
  /**
   * Makes the bytes durable, then the backup visible by writing its manifest in one atomic step. Resolves when the backup is sure to
   * survive a crash of the machine. Rejects with `duplicate_backup_id` when the ID was taken meanwhile.
   */
  publish(manifest: Uint8Array): Promise<void>
  /** Removes what was uploaded. Idempotent; does nothing after `publish` succeeded. `cleanUp` removes what `abort` cannot. */
  abort(): Promise<void>
}

export interface BackupStat {
  /** Stored bytes of each object; `undefined` where the object is missing. */
  readonly bytes: Readonly<Record<BackupObject, number | undefined>>
}

/** A condition that a destination works with but its operator should know: a weakness, something it cannot do, something left behind. */
export interface DestinationWarning {
  /** Stable, such as `network_file_system` or `permissions_not_kept`. */
  readonly code: string
  readonly message: string
}

export interface CleanUpOptions extends DestinationOptions {
  /** Younger leftovers are kept: they may be another process's upload. `RangeError` for what is not a time. @default one day */
  readonly graceMs?: number | undefined
  /** The time to compare ages with. @default now */
  readonly nowMs?: number | undefined
}

export interface CleanUpReport {
  /** The driver's names of the removed leftovers. */
  readonly removed: readonly string[]
  /** The driver's names of the leftovers that are younger than the grace time. */
  readonly kept: readonly string[]
  /** The newest listed ID, or `null`; saves the caller a listing. @default not known */
  readonly newest?: string | null | undefined
}

export interface Destination {
  /** The URL scheme, such as `file` or `s3`. */
  readonly scheme: string
  /** The place of the backups, for people; holds no secret. */
  readonly url: string

  /**
   * Checks that the process can read, write and delete at the destination; leaves nothing behind. Resolves with warnings, among them all
   * that the storage cannot do and the driver does without.
   */
  validate(options?: DestinationOptions): Promise<readonly DestinationWarning[]>

  /**
   * Starts a backup. The root is created when missing, if the driver can. Rejects with `duplicate_backup_id` when the ID is listed already.
   */
  put(backupId: string, options?: DestinationOptions): Promise<BackupUpload>

  /**
   * The manifest's bytes. Rejects with `manifest_missing` when the backup is not listed, `manifest_invalid` when it is larger than the
   * limit or something that is not a file, and may reject with `backup_incomplete` when an object is something that is not a file.
   */
  manifest(backupId: string, options?: DestinationOptions): Promise<Uint8Array>

  /**
   * The bytes of one object from `startByte` on. Rejects, at the first read, with `manifest_missing` when the backup is
   * not listed and `backup_incomplete` when the object is missing. Leaving the iteration closes what it opened.
   */
  open(backupId: string, object: BackupObject, options?: ReadObjectOptions): AsyncIterable<Uint8Array>

  /** Sizes, without reading. Rejects with `manifest_missing` when the backup is not listed. */
  stat(backupId: string, options?: DestinationOptions): Promise<BackupStat>

  /** The IDs of all published backups in ascending (ULID) order. Foreign names are skipped. A listing that cannot be completed rejects. */
  list(options?: DestinationOptions): AsyncIterable<string>

  /**
   * Un-lists the backup (manifest first), then removes its objects. Idempotent: what is already gone is fine; the next delete or `cleanUp`
   * finishes an interrupted one. Rejects with `backup_protected`, before anything is removed, when the storage locks an object.
   */
  delete(backupId: string, options?: DestinationOptions): Promise<void>

  /**
   * Removes leftovers of interrupted uploads and deletes that are older than the grace time. Never a listed backup, never a foreign name.
   */
  cleanUp(options?: CleanUpOptions): Promise<CleanUpReport>

  /**
   * The warnings of calls since the last time: what the storage turned out not to do and the driver does without, once while the
   * destination is open, and what a call had to leave behind. `runBackup` and `deleteBackups` pass them on. @default none
   */
  takeWarnings?(): readonly DestinationWarning[]

  /** Frees connections. Idempotent. */
  close(): Promise<void>
}
