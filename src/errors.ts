/**
 * Every error Holdfast throws on purpose: a stable code to match on, what to answer over HTTP, whether trying again can
 * help, and what the operator can do.
 *
 * Match on `code`, not on the class: two copies of the package in one process have different classes, and messages may
 * change. Mistakes in calling code (a wrong type, a negative limit) are plain `TypeError` and `RangeError` instead.
 */

export interface HoldfastErrorOptions {
  /** What caused this error. */
  readonly cause?: unknown
  /** What the reader can do about it, one sentence, where it differs from the class's own. */
  readonly hint?: string | undefined
  /** Whether the same call may succeed later, where it differs from the class's own. */
  readonly retryable?: boolean | undefined
  /** Facts for machines: ids, offsets, expected and actual values. Never secrets. */
  readonly details?: Readonly<Record<string, unknown>> | undefined
}

/** What is true of every error of a code, unless the error says otherwise. */
export interface ErrorTraits {
  readonly httpStatus: number
  /** Whether the same call may succeed later. */
  readonly retryable: boolean
  /** What the reader can do about it, one sentence. */
  readonly hint: string
}

/** Every code there is; the README's table is tested against it. */
export const ERROR_CODES = [
  'backup_aborted',
  'backup_unsupported',
  'restore_corrupt',
  'restore_destination_not_empty',
  'schema_version_mismatch',
  'manifest_missing',
  'manifest_version_unsupported',
  'manifest_invalid',
  'backup_incomplete',
  'checksum_mismatch',
  'duplicate_backup_id',
  'store_kind_mismatch',
  'store_id_mismatch',
  'store_not_drained',
  'store_unavailable',
  'restore_in_progress',
  'rollback_unavailable',
  'backup_already_running',
  'backup_protected',
  'destination_unreachable',
  'destination_permission_denied',
  'destination_not_found',
  'destination_no_space',
  'destination_config_invalid',
  'destination_path_conflict',
  'catalog_unavailable',
  'hold_unavailable',
  'payload_missing',
  'sweep_already_running',
  'entry_not_found',
  'entry_exists',
  'not_a_directory',
  'is_a_directory',
  'directory_not_empty',
  'lock_conflict',
  'record_invalid',
  'store_inconsistent',
  'invalid_argument',
  'internal',
] as const

export type ErrorCode = (typeof ERROR_CODES)[number]

export const ERROR_TRAITS: Readonly<Record<ErrorCode, ErrorTraits>> = {
  backup_aborted: { httpStatus: 499, retryable: true, hint: 'Nothing was published; start the backup again when it suits' },
  backup_unsupported: { httpStatus: 501, retryable: false, hint: 'Use a store or a runtime that has the capability named in the message' },
  restore_corrupt: { httpStatus: 422, retryable: false, hint: 'The target was left empty; restore another backup, or run "holdfast verify" to see what is damaged' },
  restore_destination_not_empty: { httpStatus: 409, retryable: false, hint: 'Restore into an empty store, or use the orchestrated restore, which swaps the store in' },
  schema_version_mismatch: { httpStatus: 409, retryable: false, hint: 'Restore with the version of the server that wrote the backup, then upgrade' },
  manifest_missing: { httpStatus: 404, retryable: false, hint: 'Run "holdfast list" to see which backups the destination has' },
  manifest_version_unsupported: { httpStatus: 422, retryable: false, hint: 'Use a newer version of Holdfast to read this backup' },
  manifest_invalid: { httpStatus: 422, retryable: false, hint: 'Do not trust this backup; restore another one' },
  backup_incomplete: { httpStatus: 422, retryable: false, hint: 'Objects of this backup are missing or cut short; restore another one' },
  checksum_mismatch: { httpStatus: 422, retryable: false, hint: 'The stored bytes are not those that were written; restore another backup and check the storage' },
  duplicate_backup_id: { httpStatus: 409, retryable: false, hint: 'A backup of this ID exists already and was left as it is; use a fresh ID' },
  store_kind_mismatch: { httpStatus: 409, retryable: false, hint: 'Restore into a store of the kind the backup was taken from; "holdfast convert" then copies it into one of another kind' },
  store_id_mismatch: { httpStatus: 409, retryable: false, hint: 'Check that this is the store you mean; to restore into it all the same, allow it by name (--allow-store-id)' },
  store_not_drained: { httpStatus: 409, retryable: true, hint: 'Stop or drain what is using the store, then try again' },
  store_unavailable: { httpStatus: 503, retryable: false, hint: 'Check the path and the permissions of the metadata store' },
  restore_in_progress: { httpStatus: 503, retryable: true, hint: 'Try again when the restore has ended' },
  rollback_unavailable: { httpStatus: 409, retryable: false, hint: 'There is no kept previous engine; restore a backup instead' },
  backup_already_running: { httpStatus: 409, retryable: true, hint: 'Wait for the running backup to end, or cancel it' },
  backup_protected: { httpStatus: 409, retryable: false, hint: 'Take a newer backup first; to delete this one all the same, force it by name' },
  destination_unreachable: { httpStatus: 503, retryable: true, hint: 'Check that the destination is mounted or reachable, then try again' },
  destination_permission_denied: { httpStatus: 403, retryable: false, hint: 'Give the process permission to the destination' },
  destination_not_found: { httpStatus: 404, retryable: false, hint: 'Create the destination first, or correct its URL' },
  destination_no_space: { httpStatus: 507, retryable: true, hint: 'Free space at the destination or delete old backups, then try again' },
  destination_config_invalid: { httpStatus: 400, retryable: false, hint: 'Correct the destination URL or its options' },
  destination_path_conflict: { httpStatus: 409, retryable: false, hint: 'Remove what stands in the way, or choose another path' },
  catalog_unavailable: { httpStatus: 503, retryable: true, hint: 'Check that no other process has the catalog open and that its path is writable' },
  hold_unavailable: { httpStatus: 503, retryable: true, hint: 'Nothing was deleted; make readable what the message names, then try again' },
  payload_missing: { httpStatus: 422, retryable: false, hint: 'Look for the payloads in copies of the payload store; a file whose payload is lost must be restored from elsewhere or removed' },
  sweep_already_running: { httpStatus: 409, retryable: true, hint: 'Wait for the running sweep to end, or stop it' },
  entry_not_found: { httpStatus: 404, retryable: false, hint: 'Check the path or the inode' },
  entry_exists: { httpStatus: 409, retryable: false, hint: 'Choose another name or remove the entry first' },
  not_a_directory: { httpStatus: 409, retryable: false, hint: 'Name a directory' },
  is_a_directory: { httpStatus: 409, retryable: false, hint: 'Name a file' },
  directory_not_empty: { httpStatus: 409, retryable: false, hint: 'Remove what is in the directory first' },
  lock_conflict: { httpStatus: 423, retryable: true, hint: 'Wait for the other lock to be released' },
  record_invalid: { httpStatus: 422, retryable: false, hint: 'A stored record cannot be decoded; nothing was skipped. Mend or remove it, then back up again' },
  store_inconsistent: { httpStatus: 422, retryable: false, hint: 'Nothing was published or swapped in; delete no payloads meanwhile, and mend the store or restore an earlier backup' },
  invalid_argument: { httpStatus: 400, retryable: false, hint: 'Correct the argument named in the message' },
  internal: { httpStatus: 500, retryable: false, hint: 'This is a fault of Holdfast; report it with the code and the message' },
}

/** The base of all of them. */
export abstract class HoldfastError extends Error {
  /** Never changes within a major version. */
  readonly code: ErrorCode
  readonly httpStatus: number
  readonly hint: string
  readonly retryable: boolean
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, message: string, options: HoldfastErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    const traits = ERROR_TRAITS[code]
    this.name = new.target.name
    this.code = code
    this.httpStatus = traits.httpStatus
    this.hint = options.hint ?? traits.hint
    this.retryable = options.retryable ?? traits.retryable
    this.details = Object.freeze({ ...options.details })
  }

  /** The error as data, for logs, job records and `--json`. Neither stack nor cause, which may hold what is not ours to print. */
  toJSON(): { code: ErrorCode; message: string; hint: string; retryable: boolean; details: Readonly<Record<string, unknown>> } {
    return { code: this.code, message: this.message, hint: this.hint, retryable: this.retryable, details: this.details }
  }
}

/** Thrown when a backup was cancelled by its signal; nothing was published. */
export class BackupAbortedError extends HoldfastError {
  constructor(message = 'The backup was cancelled', options?: HoldfastErrorOptions) {
    super('backup_aborted', message, options)
  }
}

/** Thrown when a store, or the running Node, lacks a capability that the call needs. */
export class BackupUnsupportedError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('backup_unsupported', message, options)
  }
}

/** Thrown when a snapshot stream is not whole: damaged, truncated, out of order, or followed by more bytes. */
export class RestoreCorruptError extends HoldfastError {
  /** Byte offset of the first fault in the stream. */
  readonly offset: number | undefined
  /** Frame sequence number of the first fault; `undefined` in the preamble and after the trailer. */
  readonly frame: number | undefined

  constructor(message: string, options: HoldfastErrorOptions & { readonly offset?: number | undefined; readonly frame?: number | undefined } = {}) {
    const { offset, frame } = options
    super('restore_corrupt', message, { ...options, details: { ...options.details, offset, frame } })
    this.offset = offset
    this.frame = frame
  }
}

/** Thrown when a restore or a conversion finds its target populated; nothing was read and nothing changed. */
export class RestoreDestinationNotEmptyError extends HoldfastError {
  constructor(message = 'Cannot restore into a store that holds data', options?: HoldfastErrorOptions) {
    super('restore_destination_not_empty', message, options)
  }
}

/** Thrown when a snapshot's format or schema version is not the one this store reads; both are named. */
export class SchemaVersionMismatchError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('schema_version_mismatch', message, options)
  }
}

/** Thrown when a destination has no manifest of that ID: the backup was never published, or was deleted. */
export class ManifestMissingError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('manifest_missing', message, options)
  }
}

/** Thrown when a manifest is of a version this release does not read. */
export class ManifestVersionUnsupportedError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('manifest_version_unsupported', message, options)
  }
}

/** Thrown when a manifest is too large, is not JSON, or breaks the rules of its version. */
export class ManifestInvalidError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('manifest_invalid', message, options)
  }
}

/** Thrown when an object that the manifest names is missing or has another size. */
export class BackupIncompleteError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('backup_incomplete', message, options)
  }
}

/** Thrown when stored bytes, or what was restored from them, differ from the manifest's digest, count or set, or the copy of a store from its source. */
export class ChecksumMismatchError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('checksum_mismatch', message, options)
  }
}

/** Thrown when a backup of the same ID is already at the destination. */
export class DuplicateBackupIdError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('duplicate_backup_id', message, options)
  }
}

/** Thrown when a backup was taken from another kind of store. */
export class StoreKindMismatchError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('store_kind_mismatch', message, options)
  }
}

/** Thrown when a backup was taken from another store than the one it is to replace. */
export class StoreIdMismatchError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('store_id_mismatch', message, options)
  }
}

/** Thrown when a store is still in use: another process has it open, or operations did not end within the drain window. */
export class StoreNotDrainedError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('store_not_drained', message, options)
  }
}

/** Thrown when a metadata store cannot be opened: it is missing, damaged, or out of reach. */
export class StoreUnavailableError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('store_unavailable', message, options)
  }
}

/** Thrown when a store is being restored: by a second restore, and by writes during the drain window. */
export class RestoreInProgressError extends HoldfastError {
  constructor(message = 'The store is being restored', options?: HoldfastErrorOptions) {
    super('restore_in_progress', message, options)
  }
}

/** Thrown when a store keeps no previous engine to roll back to. */
export class RollbackUnavailableError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('rollback_unavailable', message, options)
  }
}

/** Thrown when a backup of the same store is running already. */
export class BackupAlreadyRunningError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('backup_already_running', message, options)
  }
}

/** Thrown when a backup is not to be deleted: it is the last good one of its store, an unfinished restore names it, or its store holds it (Object Lock). */
export class BackupProtectedError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('backup_protected', message, options)
  }
}

/** Thrown when a destination does not answer, or answers with an I/O error. */
export class DestinationUnreachableError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('destination_unreachable', message, options)
  }
}

/** Thrown when a destination refuses the process's credentials or permissions. */
export class DestinationPermissionDeniedError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('destination_permission_denied', message, options)
  }
}

/** Thrown when the root of a destination (directory, bucket) does not exist. */
export class DestinationNotFoundError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('destination_not_found', message, options)
  }
}

/** Thrown when a destination, or the disk a restore writes to, has no space, quota or inodes left. */
export class DestinationNoSpaceError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('destination_no_space', message, options)
  }
}

/** Thrown when a destination's URL or options cannot be used. */
export class DestinationConfigInvalidError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('destination_config_invalid', message, options)
  }
}

/** Thrown when something else stands where a destination keeps its backups: a file, a symbolic link, a foreign directory. */
export class DestinationPathConflictError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('destination_path_conflict', message, options)
  }
}

/** Thrown when the catalog cannot be opened, read or written. */
export class CatalogUnavailableError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('catalog_unavailable', message, options)
  }
}

/** Thrown when it cannot be told which payloads are held, or a hold cannot be made safe: a source of holds is missing or damaged, or a sweep does not answer. */
export class HoldUnavailableError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('hold_unavailable', message, options)
  }
}

/** Thrown when payloads that a backup or a store refers to are not in the payload store. */
export class PayloadMissingError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('payload_missing', message, options)
  }
}

/** Thrown when a sweep of the same holds is running already. */
export class SweepAlreadyRunningError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('sweep_already_running', message, options)
  }
}

/** The codes a metadata operation is refused with. */
export type MetadataErrorCode = 'entry_not_found' | 'entry_exists' | 'not_a_directory' | 'is_a_directory' | 'directory_not_empty' | 'lock_conflict'

/** Thrown when a metadata operation cannot be done in the state the tree is in; the code says why. */
export class MetadataError extends HoldfastError {
  declare readonly code: MetadataErrorCode

  constructor(code: MetadataErrorCode, message: string, options?: HoldfastErrorOptions) {
    super(code, message, options)
  }
}

/** Thrown when a stored record cannot be decoded; a backup fails with it rather than skip the record. */
export class RecordInvalidError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('record_invalid', message, options)
  }
}

/** Thrown when a store says in one place that it refers to a payload, and in another that it does not; a backup or a restore of it fails. */
export class StoreInconsistentError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('store_inconsistent', message, options)
  }
}

/** Thrown when input from outside (an ID, a URL, a name) breaks its rules. */
export class InvalidArgumentError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('invalid_argument', message, options)
  }
}

/**
 * Thrown when a failure was followed by others while its traces were being removed, or left something that has to be told. The code
 * and `retryable` are those of the first, and so is the hint unless another is given; the cause is an `AggregateError` of all, in order.
 */
export class CombinedError extends HoldfastError {
  constructor(message: string, errors: readonly [unknown, ...unknown[]], options: Pick<HoldfastErrorOptions, 'hint' | 'details'> = {}) {
    const first = errors[0]
    const { code, hint, retryable, details } = isHoldfastError(first) ? first : { code: 'internal' as const }
    super(code, message, { cause: new AggregateError(errors, message), hint: options.hint ?? hint, retryable, details: { ...details, ...options.details } })
  }
}

/** Thrown when Holdfast finds itself in a state it rules out. */
export class InternalError extends HoldfastError {
  constructor(message: string, options?: HoldfastErrorOptions) {
    super('internal', message, options)
  }
}

/** Whether a value is one of these errors, of this copy of the package or of another. */
export function isHoldfastError(value: unknown): value is HoldfastError {
  return value instanceof Error && 'code' in value && typeof value.code === 'string' && Object.hasOwn(ERROR_TRAITS, value.code)
}
