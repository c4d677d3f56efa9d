/**
 * Every error Holdfast throws on purpose: a stable code to match on, what to answer over HTTP, whether trying again can
 * help, and what the operator can do.
 *
 * Match on `code`, not on the class: two copies of the package in one process have different classes, and messages may
 * change. Mistakes in calling code (a wrong type, a negative limit) are plain `TypeError` and `RangeError` instead.
 */

import { ERROR_TRAITS, type ErrorCode } from './error-codes.ts'
import { systemErrorKind } from './system-codes.ts'

export { ERROR_CODES, ERROR_TRAITS, type ErrorCode, type ErrorTraits } from './error-codes.ts'

export interface HoldfastErrorOptions {
  /** What caused this error. */
  readonly cause?: unknown
  /** What the reader can do, in one sentence. @default the hint of the code */
  readonly hint?: string | undefined
  /** Whether the same call may succeed later. @default as the code says */
  readonly retryable?: boolean | undefined
  /** Facts for machines: ids, offsets, expected and actual values. Never secrets. */
  readonly details?: Readonly<Record<string, unknown>> | undefined
}

/** The base class of Holdfast's errors. */
export abstract class HoldfastError extends Error {
  /** The code of the class; `undefined` where its errors have several. */
  static readonly code: ErrorCode | undefined = undefined
  /** Never changes within a major version. */
  readonly code: ErrorCode
  readonly httpStatus: number
  readonly hint: string
  readonly retryable: boolean
  readonly details: Readonly<Record<string, unknown>>
  /** The job that ended with this error: see `jobIdOf`. */
  declare readonly jobId?: string

  /** `code` is needed only where errors of the class have several. */
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

  /** The error as data, for logs, job records and `--json`. Stack and cause are left out: they may hold secrets of others. */
  toJSON(): { code: ErrorCode; message: string; hint: string; retryable: boolean; details: Readonly<Record<string, unknown>>; jobId?: string } {
    const { code, message, hint, retryable, details, jobId } = this
    return { code, message, hint, retryable, details, ...(jobId !== undefined && { jobId }) }
  }
}

/** Thrown when a backup, restore or deletion was cancelled by its signal. */
export class BackupAbortedError extends HoldfastError {
  static override readonly code = 'backup_aborted'

  constructor(message = 'The backup was cancelled', options?: HoldfastErrorOptions) {
    super(message, options)
  }
}

/** Thrown when a store, or the running Node, lacks a capability that the call needs. */
export class BackupUnsupportedError extends HoldfastError { static override readonly code = 'backup_unsupported' }

/** Thrown when a snapshot stream is damaged, truncated, out of order, or followed by more bytes. */
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

/** Thrown when the target of a restore or a conversion holds data; nothing was read or changed. */
export class RestoreDestinationNotEmptyError extends HoldfastError {
  static override readonly code = 'restore_destination_not_empty'

  constructor(message = 'Cannot restore into a store that holds data', options?: HoldfastErrorOptions) {
    super(message, options)
  }
}

/** Thrown when this store does not read a snapshot's format or schema version. */
export class SchemaVersionMismatchError extends HoldfastError { static override readonly code = 'schema_version_mismatch' }

/** Thrown when a destination has no manifest of that ID: the backup was deleted or never published. */
export class ManifestMissingError extends HoldfastError { static override readonly code = 'manifest_missing' }

/** Thrown when this release does not read the version of a manifest. */
export class ManifestVersionUnsupportedError extends HoldfastError { static override readonly code = 'manifest_version_unsupported' }

/** Thrown when a manifest requires a feature that this release does not have; the backup may be whole. */
export class ManifestFeatureUnsupportedError extends HoldfastError { static override readonly code = 'manifest_feature_unsupported' }

/** Thrown when a manifest is too large, is not JSON, or breaks the rules of its version. */
export class ManifestInvalidError extends HoldfastError { static override readonly code = 'manifest_invalid' }

/** Thrown when an object that the manifest names is missing or has another size. */
export class BackupIncompleteError extends HoldfastError { static override readonly code = 'backup_incomplete' }

/** Thrown when stored or restored bytes differ from the manifest's digest, count or set, or a copied store differs from its source. */
export class ChecksumMismatchError extends HoldfastError { static override readonly code = 'checksum_mismatch' }

/** Thrown when a backup differs from what the catalog recorded: its manifest was replaced or changed. */
export class BackupAlteredError extends HoldfastError { static override readonly code = 'backup_altered' }

/** Thrown when the destination already has a backup of the same ID. */
export class DuplicateBackupIdError extends HoldfastError { static override readonly code = 'duplicate_backup_id' }

/** Thrown when a backup was taken from another kind of store. */
export class StoreKindMismatchError extends HoldfastError { static override readonly code = 'store_kind_mismatch' }

/** Thrown when a backup was taken from another store than the one to be replaced. */
export class StoreIdMismatchError extends HoldfastError { static override readonly code = 'store_id_mismatch' }

/**
 * Thrown when a store is still in use: another process has it open or needs its payloads, or operations did not end within the drain
 * window.
 */
export class StoreNotDrainedError extends HoldfastError { static override readonly code = 'store_not_drained' }

/** Thrown when a metadata store cannot be opened: it is missing, damaged, or out of reach. */
export class StoreUnavailableError extends HoldfastError { static override readonly code = 'store_unavailable' }

/** Thrown when a restore of the store is running: refused are a second restore, and writes in its drain window. */
export class RestoreInProgressError extends HoldfastError {
  static override readonly code = 'restore_in_progress'

  constructor(message = 'The store is being restored', options?: HoldfastErrorOptions) {
    super(message, options)
  }
}

/** Thrown when the store changed after the restore plan was made; nothing was changed. */
export class RestorePlanStaleError extends HoldfastError { static override readonly code = 'restore_plan_stale' }

/** Thrown when a store keeps no previous engine to roll back to. */
export class RollbackUnavailableError extends HoldfastError { static override readonly code = 'rollback_unavailable' }

/** Thrown when another backup of the same store is running. */
export class BackupAlreadyRunningError extends HoldfastError { static override readonly code = 'backup_already_running' }

/**
 * Thrown when a backup must not be deleted: it is the last good one of its store, an unfinished restore needs it, or the bucket locks it
 * (Object Lock).
 */
export class BackupProtectedError extends HoldfastError { static override readonly code = 'backup_protected' }

/** Thrown when a destination does not answer, or answers with an I/O error. */
export class DestinationUnreachableError extends HoldfastError { static override readonly code = 'destination_unreachable' }

/** Thrown when a destination refuses the process's credentials or permissions. */
export class DestinationPermissionDeniedError extends HoldfastError { static override readonly code = 'destination_permission_denied' }

/** Thrown when the root of a destination (directory, bucket) does not exist. */
export class DestinationNotFoundError extends HoldfastError { static override readonly code = 'destination_not_found' }

/** Thrown when a destination, or a disk that the work writes to, has no space, quota or inodes left. */
export class DestinationNoSpaceError extends HoldfastError { static override readonly code = 'destination_no_space' }

/** Thrown when a destination's URL or options cannot be used. */
export class DestinationConfigInvalidError extends HoldfastError { static override readonly code = 'destination_config_invalid' }

/** Thrown when a file, symbolic link or foreign directory is in the place where a destination keeps its backups. */
export class DestinationPathConflictError extends HoldfastError { static override readonly code = 'destination_path_conflict' }

/** Thrown when the catalog cannot be opened, read or written. */
export class CatalogUnavailableError extends HoldfastError { static override readonly code = 'catalog_unavailable' }

/** Thrown when it is not known which payloads are held: a backup or catalog is missing or damaged, or a running sweep does not answer. */
export class HoldUnavailableError extends HoldfastError { static override readonly code = 'hold_unavailable' }

/** Thrown when payloads that a backup or a store refers to are not in the payload store. */
export class PayloadMissingError extends HoldfastError { static override readonly code = 'payload_missing' }

/** Thrown when another sweep with the same catalog is running. */
export class SweepAlreadyRunningError extends HoldfastError { static override readonly code = 'sweep_already_running' }

/** The codes of refused metadata operations. */
export type MetadataErrorCode = 'entry_not_found' | 'entry_exists' | 'not_a_directory' | 'is_a_directory' | 'directory_not_empty' | 'lock_conflict'

/** Thrown when the tree's state does not allow a metadata operation; the code says why. */
export class MetadataError extends HoldfastError {
  declare readonly code: MetadataErrorCode

  constructor(code: MetadataErrorCode, message: string, options?: HoldfastErrorOptions) {
    super(message, options, code)
  }
}

/** Thrown when a stored record cannot be decoded; a backup fails rather than skip the record. */
export class RecordInvalidError extends HoldfastError { static override readonly code = 'record_invalid' }

/** Thrown when a store breaks a rule of the tree, or contradicts itself about which payloads it refers to; its backup or restore fails. */
export class StoreInconsistentError extends HoldfastError { static override readonly code = 'store_inconsistent' }

/** Thrown when input from outside (an ID, a URL, a name) breaks its rules. */
export class InvalidArgumentError extends HoldfastError { static override readonly code = 'invalid_argument' }

interface Traits extends Pick<HoldfastErrorOptions, 'hint' | 'retryable' | 'details'> {
  readonly code: ErrorCode
}

/** Thrown when cleaning up after a failure failed too. Code, `retryable` and, unless another is given, hint are those of the first failure,
 * be it Holdfast's or the file system's; the cause is an `AggregateError` of all, in order.
 */
export class CombinedError extends HoldfastError {
  constructor(message: string, errors: readonly [unknown, ...unknown[]], options: Pick<HoldfastErrorOptions, 'hint' | 'details'> = {}) {
    const first = errors[0]
    const { code, hint, retryable, details }: Traits = isHoldfastError(first) ? first : (systemErrorKind(first) ?? { code: 'internal' })
    super(message, { cause: new AggregateError(errors, message), hint: options.hint ?? hint, retryable, details: { ...details, ...options.details } }, code)
  }
}

/** Thrown when Holdfast reaches a state that should be impossible, or a part of another maker breaks its contract. */
export class InternalError extends HoldfastError { static override readonly code = 'internal' }

/** Whether a value is a `HoldfastError`, of this copy of the package or another. */
export function isHoldfastError(value: unknown): value is HoldfastError {
  return value instanceof Error && 'code' in value && typeof value.code === 'string' && Object.hasOwn(ERROR_TRAITS, value.code)
}
