/**
 * Every error Holdfast throws on purpose: a stable code to match on, what to answer over HTTP, whether trying again can
 * help, and what the operator can do.
 *
 * Match on `code`, not on the class: two copies of the package in one process have different classes, and messages may
 * change. Mistakes in calling code (a wrong type, a negative limit) are plain `TypeError` and `RangeError` instead.
 */

import { ERROR_TRAITS, type ErrorCode } from './error-codes.ts'

export { ERROR_CODES, ERROR_TRAITS, type ErrorCode, type ErrorTraits } from './error-codes.ts'

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

/** The base of all of them. */
export abstract class HoldfastError extends Error {
  /** The code of all errors of a class; `undefined` where they have several. */
  static readonly code: ErrorCode | undefined = undefined
  /** Never changes within a major version. */
  readonly code: ErrorCode
  readonly httpStatus: number
  readonly hint: string
  readonly retryable: boolean
  readonly details: Readonly<Record<string, unknown>>
  /** The job that ended with this error, where one did: see `jobIdOf`. */
  declare readonly jobId?: string

  /** `code` is that of the class, unless errors of the class have several. */
  constructor(message: string, options: HoldfastErrorOptions = {}, code: ErrorCode = new.target.code ?? 'internal') {
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
  toJSON(): { code: ErrorCode; message: string; hint: string; retryable: boolean; details: Readonly<Record<string, unknown>>; jobId?: string } {
    const { code, message, hint, retryable, details, jobId } = this
    return { code, message, hint, retryable, details, ...(jobId !== undefined && { jobId }) }
  }
}

/** Thrown when a backup was cancelled by its signal; nothing was published. */
export class BackupAbortedError extends HoldfastError {
  static override readonly code = 'backup_aborted'

  constructor(message = 'The backup was cancelled', options?: HoldfastErrorOptions) {
    super(message, options)
  }
}

/** Thrown when a store, or the running Node, lacks a capability that the call needs. */
export class BackupUnsupportedError extends HoldfastError {
  static override readonly code = 'backup_unsupported'
}

/** Thrown when a snapshot stream is not whole: damaged, truncated, out of order, or followed by more bytes. */
export class RestoreCorruptError extends HoldfastError {
  static override readonly code = 'restore_corrupt'
  /** Byte offset of the first fault in the stream. */
  readonly offset: number | undefined
  /** Frame sequence number of the first fault; `undefined` in the preamble and after the trailer. */
  readonly frame: number | undefined

  constructor(message: string, options: HoldfastErrorOptions & { readonly offset?: number | undefined; readonly frame?: number | undefined } = {}) {
    const { offset, frame } = { ...(options.details as { offset?: number; frame?: number } | undefined), ...options }
    super(message, { ...options, details: { ...options.details, offset, frame } })
    this.offset = offset
    this.frame = frame
  }
}

/** Thrown when a restore or a conversion finds its target populated; nothing was read and nothing changed. */
export class RestoreDestinationNotEmptyError extends HoldfastError {
  static override readonly code = 'restore_destination_not_empty'

  constructor(message = 'Cannot restore into a store that holds data', options?: HoldfastErrorOptions) {
    super(message, options)
  }
}

/** Thrown when a snapshot's format or schema version is not the one this store reads; both are named. */
export class SchemaVersionMismatchError extends HoldfastError {
  static override readonly code = 'schema_version_mismatch'
}

/** Thrown when a destination has no manifest of that ID: the backup was never published, or was deleted. */
export class ManifestMissingError extends HoldfastError {
  static override readonly code = 'manifest_missing'
}

/** Thrown when a manifest is of a version this release does not read. */
export class ManifestVersionUnsupportedError extends HoldfastError {
  static override readonly code = 'manifest_version_unsupported'
}

/** Thrown when a manifest requires a feature that this release does not have; the backup may be whole. */
export class ManifestFeatureUnsupportedError extends HoldfastError {
  static override readonly code = 'manifest_feature_unsupported'
}

/** Thrown when a manifest is too large, is not JSON, or breaks the rules of its version. */
export class ManifestInvalidError extends HoldfastError {
  static override readonly code = 'manifest_invalid'
}

/** Thrown when an object that the manifest names is missing or has another size. */
export class BackupIncompleteError extends HoldfastError {
  static override readonly code = 'backup_incomplete'
}

/** Thrown when stored bytes, or what was restored from them, differ from the manifest's digest, count or set, or the copy of a store from its source. */
export class ChecksumMismatchError extends HoldfastError {
  static override readonly code = 'checksum_mismatch'
}

/** Thrown when a backup is not what the catalog recorded of it: its manifest was replaced or changed since. */
export class BackupAlteredError extends HoldfastError {
  static override readonly code = 'backup_altered'
}

/** Thrown when a backup of the same ID is already at the destination. */
export class DuplicateBackupIdError extends HoldfastError {
  static override readonly code = 'duplicate_backup_id'
}

/** Thrown when a backup was taken from another kind of store. */
export class StoreKindMismatchError extends HoldfastError {
  static override readonly code = 'store_kind_mismatch'
}

/** Thrown when a backup was taken from another store than the one it is to replace. */
export class StoreIdMismatchError extends HoldfastError {
  static override readonly code = 'store_id_mismatch'
}

/** Thrown when a store is still in use: another process has it open, or operations did not end within the drain window. */
export class StoreNotDrainedError extends HoldfastError {
  static override readonly code = 'store_not_drained'
}

/** Thrown when a metadata store cannot be opened: it is missing, damaged, or out of reach. */
export class StoreUnavailableError extends HoldfastError {
  static override readonly code = 'store_unavailable'
}

/** Thrown when a store is being restored: by a second restore, and by writes during the drain window. */
export class RestoreInProgressError extends HoldfastError {
  static override readonly code = 'restore_in_progress'

  constructor(message = 'The store is being restored', options?: HoldfastErrorOptions) {
    super(message, options)
  }
}

/** Thrown when a restore is to run a plan, and the store is not as it was when the plan was made; nothing was changed. */
export class RestorePlanStaleError extends HoldfastError {
  static override readonly code = 'restore_plan_stale'
}

/** Thrown when a store keeps no previous engine to roll back to. */
export class RollbackUnavailableError extends HoldfastError {
  static override readonly code = 'rollback_unavailable'
}

/** Thrown when a backup of the same store is running already. */
export class BackupAlreadyRunningError extends HoldfastError {
  static override readonly code = 'backup_already_running'
}

/** Thrown when a backup is not to be deleted: it is the last good one of its store, an unfinished restore names it, or its store holds it (Object Lock). */
export class BackupProtectedError extends HoldfastError {
  static override readonly code = 'backup_protected'
}

/** Thrown when a destination does not answer, or answers with an I/O error. */
export class DestinationUnreachableError extends HoldfastError {
  static override readonly code = 'destination_unreachable'
}

/** Thrown when a destination refuses the process's credentials or permissions. */
export class DestinationPermissionDeniedError extends HoldfastError {
  static override readonly code = 'destination_permission_denied'
}

/** Thrown when the root of a destination (directory, bucket) does not exist. */
export class DestinationNotFoundError extends HoldfastError {
  static override readonly code = 'destination_not_found'
}

/** Thrown when a destination, or the disk a restore writes to, has no space, quota or inodes left. */
export class DestinationNoSpaceError extends HoldfastError {
  static override readonly code = 'destination_no_space'
}

/** Thrown when a destination's URL or options cannot be used. */
export class DestinationConfigInvalidError extends HoldfastError {
  static override readonly code = 'destination_config_invalid'
}

/** Thrown when something else stands where a destination keeps its backups: a file, a symbolic link, a foreign directory. */
export class DestinationPathConflictError extends HoldfastError {
  static override readonly code = 'destination_path_conflict'
}

/** Thrown when the catalog cannot be opened, read or written. */
export class CatalogUnavailableError extends HoldfastError {
  static override readonly code = 'catalog_unavailable'
}

/** Thrown when it cannot be told which payloads are held, or a hold cannot be made safe: a source of holds is missing or damaged, or a sweep does not answer. */
export class HoldUnavailableError extends HoldfastError {
  static override readonly code = 'hold_unavailable'
}

/** Thrown when payloads that a backup or a store refers to are not in the payload store. */
export class PayloadMissingError extends HoldfastError {
  static override readonly code = 'payload_missing'
}

/** Thrown when a sweep of the same holds is running already. */
export class SweepAlreadyRunningError extends HoldfastError {
  static override readonly code = 'sweep_already_running'
}

/** The codes a metadata operation is refused with. */
export type MetadataErrorCode = 'entry_not_found' | 'entry_exists' | 'not_a_directory' | 'is_a_directory' | 'directory_not_empty' | 'lock_conflict'

/** Thrown when a metadata operation cannot be done in the state the tree is in; the code says why. */
export class MetadataError extends HoldfastError {
  declare readonly code: MetadataErrorCode

  constructor(code: MetadataErrorCode, message: string, options?: HoldfastErrorOptions) {
    super(message, options, code)
  }
}

/** Thrown when a stored record cannot be decoded; a backup fails with it rather than skip the record. */
export class RecordInvalidError extends HoldfastError {
  static override readonly code = 'record_invalid'
}

/** Thrown when a store says in one place that it refers to a payload, and in another that it does not; a backup or a restore of it fails. */
export class StoreInconsistentError extends HoldfastError {
  static override readonly code = 'store_inconsistent'
}

/** Thrown when input from outside (an ID, a URL, a name) breaks its rules. */
export class InvalidArgumentError extends HoldfastError {
  static override readonly code = 'invalid_argument'
}

/**
 * Thrown when a failure was followed by others while its traces were being removed, or left something that has to be told. The code
 * and `retryable` are those of the first, and so is the hint unless another is given; the cause is an `AggregateError` of all, in order.
 */
export class CombinedError extends HoldfastError {
  constructor(message: string, errors: readonly [unknown, ...unknown[]], options: Pick<HoldfastErrorOptions, 'hint' | 'details'> = {}) {
    const first = errors[0]
    const { code, hint, retryable, details } = isHoldfastError(first) ? first : { code: 'internal' as const }
    super(message, { cause: new AggregateError(errors, message), hint: options.hint ?? hint, retryable, details: { ...details, ...options.details } }, code)
  }
}

/** Thrown when Holdfast finds itself in a state it rules out. */
export class InternalError extends HoldfastError {
  static override readonly code = 'internal'
}

/** Whether a value is one of these errors, of this copy of the package or of another. */
export function isHoldfastError(value: unknown): value is HoldfastError {
  return value instanceof Error && 'code' in value && typeof value.code === 'string' && Object.hasOwn(ERROR_TRAITS, value.code)
}
