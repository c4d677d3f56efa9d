/**
 * Contract 2: where backups go.
 *
 * A backup is three objects under one ULID: `payload`, `payload-ids` and `manifest.json`. A driver moves bytes and knows
 * nothing of what is in them. What must hold for all of them: a backup is visible (listed, readable) exactly when its
 * manifest is; the manifest is written last and deleted first.
 *
 * Errors of every method: `invalid_argument` for an ID that is no ULID, before any path or key is built of it;
 * `destination_not_found`, `destination_permission_denied`, `destination_unreachable`, `destination_no_space`,
 * `destination_path_conflict` for the state of the root. Whether trying again can help is the error's `retryable`.
 */

/** The objects of a backup beside its manifest. */
export const BACKUP_OBJECTS = ['payload', 'payload-ids'] as const
export type BackupObject = (typeof BACKUP_OBJECTS)[number]

/** The most bytes a manifest may have; larger ones are neither written nor read. */
export const MAX_MANIFEST_BYTES: number = 64 * 1024

export interface DestinationOptions {
  readonly signal?: AbortSignal | undefined
}

/** One backup on its way to a destination; nothing of it is listed before `publish`. */
export interface BackupUpload {
  /**
   * Appends to one object. `payload` comes first and whole, then `payload-ids`. Call again only after the promise
   * resolved; the chunk must not change until then.
   */
  write(object: BackupObject, chunk: Uint8Array): Promise<void>
  /**
   * Makes the bytes durable, then writes the manifest and so makes the backup visible, in one atomic step. Resolves only
   * when a crash of the machine can no longer take it back. Rejects with `duplicate_backup_id` when the ID was taken meanwhile.
   */
  publish(manifest: Uint8Array): Promise<void>
  /** Removes what was uploaded. Idempotent; does nothing after `publish` succeeded. What it cannot remove, `cleanUp` will. */
  abort(): Promise<void>
}

export interface BackupStat {
  /** Stored bytes of each object; `undefined` where the object is missing. */
  readonly bytes: Readonly<Record<BackupObject, number | undefined>>
}

/** Something a destination works with but its operator should know. */
export interface DestinationWarning {
  /** Stable, such as `network_file_system`. */
  readonly code: string
  readonly message: string
}

export interface CleanUpOptions extends DestinationOptions {
  /** Leftovers younger than this are kept: they may be another process's upload. @default one day */
  readonly graceMs?: number | undefined
  /** The time to compare ages with. @default now */
  readonly nowMs?: number | undefined
}

export interface CleanUpReport {
  /** Names of the leftovers that were removed, as the driver calls them. */
  readonly removed: readonly string[]
  /** Names of the leftovers that are younger than the grace time. */
  readonly kept: readonly string[]
  /** The newest ID that is listed, `null` where none is; a caller then need not list for it. @default not told */
  readonly newest?: string | null | undefined
}

export interface Destination {
  /** The URL scheme, such as `file` or `s3`. */
  readonly scheme: string
  /** Where it points to, for people; holds no secret. */
  readonly url: string

  /** Checks that the destination can be read, written and deleted from, leaving nothing behind. Resolves with what is worth a warning. */
  validate(options?: DestinationOptions): Promise<readonly DestinationWarning[]>

  /** Starts a backup. The root is created when missing, if the driver can. Rejects with `duplicate_backup_id` when the ID is listed already. */
  put(backupId: string, options?: DestinationOptions): Promise<BackupUpload>

  /** The manifest's bytes. Rejects with `manifest_missing` when the backup is not listed, `manifest_invalid` when it is larger than the limit. */
  manifest(backupId: string, options?: DestinationOptions): Promise<Uint8Array>

  /**
   * The bytes of one object from `startByte` on. Rejects, at the first read, with `manifest_missing` when the backup is
   * not listed and `backup_incomplete` when the object is missing. Leaving the iteration closes what it opened.
   */
  open(backupId: string, object: BackupObject, options?: DestinationOptions & { readonly startByte?: number | undefined }): AsyncIterable<Uint8Array>

  /** Sizes, without reading. Rejects with `manifest_missing` when the backup is not listed. */
  stat(backupId: string, options?: DestinationOptions): Promise<BackupStat>

  /** The IDs of all published backups in ascending (ULID) order. Foreign names are passed over. A list that cannot be completed rejects; it never just ends. */
  list(options?: DestinationOptions): AsyncIterable<string>

  /**
   * Un-lists the backup (manifest first), then removes its objects. Idempotent: what is already gone is fine; an interrupted delete is
   * finished by the next one or by `cleanUp`. Rejects with `backup_protected`, before anything is removed, when the store itself holds an object.
   */
  delete(backupId: string, options?: DestinationOptions): Promise<void>

  /** Removes leftovers of interrupted uploads and deletes that are older than the grace time. Never a listed backup, never a foreign name. */
  cleanUp(options?: CleanUpOptions): Promise<CleanUpReport>

  /** Frees connections. Idempotent. */
  close(): Promise<void>
}
