/** Errors as plain data, to be sent between threads and rebuilt there as what they were. */
import {
  type ErrorCode,
  type HoldfastError,
  type HoldfastErrorOptions,
  type MetadataErrorCode,
  BackupAbortedError,
  BackupAlreadyRunningError,
  BackupIncompleteError,
  BackupProtectedError,
  BackupUnsupportedError,
  CatalogUnavailableError,
  ChecksumMismatchError,
  DestinationConfigInvalidError,
  DestinationNoSpaceError,
  DestinationNotFoundError,
  DestinationPathConflictError,
  DestinationPermissionDeniedError,
  DestinationUnreachableError,
  DuplicateBackupIdError,
  HoldUnavailableError,
  InternalError,
  InvalidArgumentError,
  ManifestInvalidError,
  ManifestMissingError,
  ManifestVersionUnsupportedError,
  MetadataError,
  PayloadMissingError,
  RecordInvalidError,
  RestoreCorruptError,
  RestoreDestinationNotEmptyError,
  RestoreInProgressError,
  RollbackUnavailableError,
  SchemaVersionMismatchError,
  StoreIdMismatchError,
  StoreInconsistentError,
  StoreKindMismatchError,
  StoreNotDrainedError,
  StoreUnavailableError,
  SweepAlreadyRunningError,
  isHoldfastError,
} from './errors.ts'

/** An error without its class; safe for the structured clone algorithm. */
export interface TransferredError {
  readonly name: string
  readonly message: string
  readonly stack: string | undefined
  readonly code: string | undefined
  readonly cause: TransferredError | undefined
  /** Only of Holdfast's errors. */
  readonly traits: { readonly code: ErrorCode; readonly hint: string; readonly retryable: boolean; readonly details: string } | undefined
}

/** Causes further down are left out. */
const MAX_CAUSES = 8

/** Takes an error, or whatever was thrown, apart. Details that are not JSON become text. */
export function packError(error: unknown, depth = 0): TransferredError {
  if (!(error instanceof Error)) return { ...NO_ERROR, message: String(error) }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  return {
    name: error.name,
    message: error.message,
    stack: error.stack,
    code,
    cause: error.cause === undefined || depth === MAX_CAUSES ? undefined : packError(error.cause, depth + 1),
    traits: isHoldfastError(error)
      ? { code: error.code, hint: error.hint, retryable: error.retryable, details: JSON.stringify(error.details, plainly) }
      : undefined,
  }
}

/** Rebuilds an error: one of Holdfast's as the class of its code, any other as an `Error` of the same name and code. */
export function unpackError(packed: TransferredError): Error {
  const cause = packed.cause === undefined ? undefined : unpackError(packed.cause)
  const error = packed.traits === undefined ? plainError(packed, cause) : holdfastError(packed.traits, packed.message, cause)
  if (packed.stack !== undefined) error.stack = packed.stack
  return error
}

const NO_ERROR: TransferredError = {
  name: 'Error',
  message: '',
  stack: undefined,
  code: undefined,
  cause: undefined,
  traits: undefined,
}

type Build = (message: string, options: HoldfastErrorOptions, code: ErrorCode) => HoldfastError

const metadataError: Build = (message, options, code) => new MetadataError(code as MetadataErrorCode, message, options)

const BUILD: Readonly<Record<ErrorCode, Build>> = {
  backup_aborted: (message, options) => new BackupAbortedError(message, options),
  backup_unsupported: (message, options) => new BackupUnsupportedError(message, options),
  restore_corrupt: (message, options) => new RestoreCorruptError(message, { ...options, ...(options.details as object) }),
  restore_destination_not_empty: (message, options) => new RestoreDestinationNotEmptyError(message, options),
  schema_version_mismatch: (message, options) => new SchemaVersionMismatchError(message, options),
  manifest_missing: (message, options) => new ManifestMissingError(message, options),
  manifest_version_unsupported: (message, options) => new ManifestVersionUnsupportedError(message, options),
  manifest_invalid: (message, options) => new ManifestInvalidError(message, options),
  backup_incomplete: (message, options) => new BackupIncompleteError(message, options),
  checksum_mismatch: (message, options) => new ChecksumMismatchError(message, options),
  duplicate_backup_id: (message, options) => new DuplicateBackupIdError(message, options),
  store_kind_mismatch: (message, options) => new StoreKindMismatchError(message, options),
  store_id_mismatch: (message, options) => new StoreIdMismatchError(message, options),
  store_not_drained: (message, options) => new StoreNotDrainedError(message, options),
  store_unavailable: (message, options) => new StoreUnavailableError(message, options),
  restore_in_progress: (message, options) => new RestoreInProgressError(message, options),
  rollback_unavailable: (message, options) => new RollbackUnavailableError(message, options),
  backup_already_running: (message, options) => new BackupAlreadyRunningError(message, options),
  backup_protected: (message, options) => new BackupProtectedError(message, options),
  destination_unreachable: (message, options) => new DestinationUnreachableError(message, options),
  destination_permission_denied: (message, options) => new DestinationPermissionDeniedError(message, options),
  destination_not_found: (message, options) => new DestinationNotFoundError(message, options),
  destination_no_space: (message, options) => new DestinationNoSpaceError(message, options),
  destination_config_invalid: (message, options) => new DestinationConfigInvalidError(message, options),
  destination_path_conflict: (message, options) => new DestinationPathConflictError(message, options),
  catalog_unavailable: (message, options) => new CatalogUnavailableError(message, options),
  hold_unavailable: (message, options) => new HoldUnavailableError(message, options),
  payload_missing: (message, options) => new PayloadMissingError(message, options),
  sweep_already_running: (message, options) => new SweepAlreadyRunningError(message, options),
  entry_not_found: metadataError,
  entry_exists: metadataError,
  not_a_directory: metadataError,
  is_a_directory: metadataError,
  directory_not_empty: metadataError,
  lock_conflict: metadataError,
  record_invalid: (message, options) => new RecordInvalidError(message, options),
  store_inconsistent: (message, options) => new StoreInconsistentError(message, options),
  invalid_argument: (message, options) => new InvalidArgumentError(message, options),
  internal: (message, options) => new InternalError(message, options),
}

function holdfastError(traits: NonNullable<TransferredError['traits']>, message: string, cause: Error | undefined): HoldfastError {
  const { code, hint, retryable } = traits
  const details = JSON.parse(traits.details) as Record<string, unknown>
  return BUILD[code](message, { cause, hint, retryable, details }, code)
}

function plainError({ name, message, code }: TransferredError, cause: Error | undefined): Error {
  const error = new Error(message, cause === undefined ? undefined : { cause })
  Object.defineProperty(error, 'name', { value: name, configurable: true, writable: true, enumerable: false })
  return code === undefined ? error : Object.assign(error, { code })
}

function plainly(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' || typeof value === 'symbol' || typeof value === 'function' ? String(value) : value
}
