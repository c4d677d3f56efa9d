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
