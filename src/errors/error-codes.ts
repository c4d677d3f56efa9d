/** The codes of errors, with the status, hint and retryability of each. */

/** The properties of every error of a code, unless the error overrides them. */
export interface ErrorTraits {
  readonly httpStatus: number
  /** Whether the same call may succeed later. */
  readonly retryable: boolean
  /** When the error is thrown, as the end of a sentence. */
  readonly when: string
  /** What the reader can do about it, one sentence. */
  readonly hint: string
}

/** All codes. A test compares the README's table with this list. */
export const ERROR_CODES = [
  'backup_aborted', 'backup_unsupported', 'restore_corrupt', 'restore_destination_not_empty', 'schema_version_mismatch',
  'manifest_missing', 'manifest_version_unsupported', 'manifest_feature_unsupported', 'manifest_invalid', 'backup_incomplete',
  'checksum_mismatch', 'backup_altered', 'duplicate_backup_id', 'store_kind_mismatch', 'store_id_mismatch', 'store_not_drained',
  'store_unavailable', 'restore_in_progress', 'restore_plan_stale', 'rollback_unavailable', 'backup_already_running', 'backup_protected',
  'destination_unreachable', 'destination_permission_denied', 'destination_not_found', 'destination_no_space',
  'destination_config_invalid', 'destination_path_conflict', 'catalog_unavailable', 'hold_unavailable', 'payload_missing',
  'sweep_already_running', 'entry_not_found', 'entry_exists', 'not_a_directory', 'is_a_directory', 'directory_not_empty', 'lock_conflict',
  'record_invalid', 'store_inconsistent', 'invalid_argument', 'internal',
] as const

export type ErrorCode = (typeof ERROR_CODES)[number]

export const ERROR_TRAITS: Readonly<Record<ErrorCode, ErrorTraits>> = {
  backup_aborted: {
    httpStatus: 499, retryable: true,
    when: 'a backup, restore or deletion was cancelled by its signal',
    hint: 'Start it again when you are ready',
  },
  backup_unsupported: {
    httpStatus: 501, retryable: false,
    when: 'a store, or the running Node, lacks a capability that the call needs',
    hint: 'Use a store or a runtime that has the capability named in the message',
  },
  restore_corrupt: {
    httpStatus: 422, retryable: false,
    when: 'a snapshot stream is damaged, truncated, out of order, or followed by more bytes',
    hint: 'Restore another backup, or run "holdfast verify" to see the damage; the target was left empty',
  },
  restore_destination_not_empty: {
    httpStatus: 409, retryable: false,
    when: 'the target of a restore or a conversion holds data; nothing was read or changed',
    hint: 'Use an empty store; one of Holdfast that holds data is replaced by "holdfast restore" or restoreBackup()',
  },
  schema_version_mismatch: {
    httpStatus: 409, retryable: false,
    when: "this store does not read a snapshot's format or schema version",
    hint: 'Restore with the server version that wrote the backup, then upgrade',
  },
  manifest_missing: {
    httpStatus: 404, retryable: false,
    when: 'a destination has no manifest of that ID: the backup was deleted or never published',
    hint: 'Run "holdfast list" to see which backups the destination has',
  },
  manifest_version_unsupported: {
    httpStatus: 422, retryable: false,
    when: 'this release does not read the version of a manifest',
    hint: 'Use a newer version of Holdfast to read this backup',
  },
  manifest_feature_unsupported: {
    httpStatus: 422, retryable: false,
    when: 'a manifest requires a feature that this release does not have; the backup may be whole',
    hint: 'Use a release of Holdfast that has the feature named in the message',
  },
  manifest_invalid: {
    httpStatus: 422, retryable: false,
    when: 'a manifest is too large, is not JSON, or breaks the rules of its version',
    hint: 'Do not trust this backup; restore another one',
  },
  backup_incomplete: {
    httpStatus: 422, retryable: false,
    when: 'an object that the manifest names is missing or has another size',
    hint: 'Restore another backup; objects of this one are missing or cut short',
  },
  checksum_mismatch: {
    httpStatus: 422, retryable: false,
    when: "stored or restored bytes differ from the manifest's digest, count or set, or a copied store differs from its source",
    hint: 'Restore another backup and check the storage: it changed or lost bytes',
  },
  backup_altered: {
    httpStatus: 422, retryable: false,
    when: 'a backup differs from what the catalog recorded: its manifest was replaced or changed',
    hint: 'Find out what changed this backup, and restore another one; if the change is right, "holdfast catalog rebuild" records it',
  },
  duplicate_backup_id: {
    httpStatus: 409, retryable: false,
    when: 'the destination already has a backup of the same ID',
    hint: 'Use a fresh ID; the existing backup was left as it is',
  },
  store_kind_mismatch: {
    httpStatus: 409, retryable: false,
    when: 'a backup was taken from another kind of store',
    hint: 'Restore into a store of the kind that was backed up, then copy it with "holdfast convert"; restoreInto restores a database of your own',
  },
  store_id_mismatch: {
    httpStatus: 409, retryable: false,
    when: 'a backup was taken from another store than the one to be replaced',
    hint: 'Check that this is the right store; to restore into it all the same, use --allow-store-id (allowStoreId: true)',
  },
  store_not_drained: {
    httpStatus: 409, retryable: true,
    when: 'a store is still in use: another process has it open or needs its payloads, or operations did not end within the drain window',
    hint: 'Stop the process that is using the store, then try again',
  },
  store_unavailable: {
    httpStatus: 503, retryable: false,
    when: 'a metadata store cannot be opened: it is missing, damaged, or out of reach',
    hint: 'Check the path and the permissions of the metadata store',
  },
  restore_in_progress: {
    httpStatus: 503, retryable: true,
    when: 'a restore of the store is running: refused are a second restore, and writes in its drain window',
    hint: 'Wait for the restore to end, then try again',
  },
  restore_plan_stale: {
    httpStatus: 409, retryable: false,
    when: 'the store changed after the restore plan was made; nothing was changed',
    hint: 'Run "holdfast restore" again, or make a new plan with planRestore(), read it, and restore by it',
  },
  rollback_unavailable: {
    httpStatus: 409, retryable: false,
    when: 'a store keeps no previous engine to roll back to',
    hint: 'Restore a backup instead; no previous engine is kept',
  },
  backup_already_running: {
    httpStatus: 409, retryable: true,
    when: 'another backup of the same store is running',
    hint: 'Wait for the running backup to end, or cancel it',
  },
  backup_protected: {
    httpStatus: 409, retryable: false,
    when: 'a backup must not be deleted: it is the last good one of its store, an unfinished restore needs it, or the bucket locks it (Object Lock)',
    hint: 'Take a newer backup first; to delete this one all the same, use --force (force: true)',
  },
  destination_unreachable: {
    httpStatus: 503, retryable: true,
    when: 'a destination does not answer, or answers with an I/O error',
    hint: 'Check that the destination is mounted or reachable, then try again',
  },
  destination_permission_denied: {
    httpStatus: 403, retryable: false,
    when: "a destination refuses the process's credentials or permissions",
    hint: 'Give the process permission to use the destination',
  },
  destination_not_found: {
    httpStatus: 404, retryable: false,
    when: 'the root of a destination (directory, bucket) does not exist',
    hint: 'Correct its path or URL, or mount its disk; a backup makes a missing directory, but not a bucket',
  },
  destination_no_space: {
    httpStatus: 507, retryable: true,
    when: 'a destination, or a disk that the work writes to, has no space, quota or inodes left',
    hint: 'Free space at the destination or delete old backups, then try again',
  },
  destination_config_invalid: {
    httpStatus: 400, retryable: false,
    when: "a destination's URL or options cannot be used",
    hint: 'Correct the destination URL or its options',
  },
  destination_path_conflict: {
    httpStatus: 409, retryable: false,
    when: 'a file, symbolic link or foreign directory is in the place where a destination keeps its backups',
    hint: 'Remove what is in the way, or choose another path',
  },
  catalog_unavailable: {
    httpStatus: 503, retryable: true,
    when: 'the catalog cannot be opened, read or written',
    hint: 'Check that no other process has the catalog open, that its path is writable, and that its disk has space',
  },
  hold_unavailable: {
    httpStatus: 503, retryable: true,
    when: 'it is not known which payloads are held: a backup or catalog is missing or damaged, or a running sweep does not answer',
    hint: 'Make readable what the message names, then try again; nothing was deleted',
  },
  payload_missing: {
    httpStatus: 422, retryable: false,
    when: 'payloads that a backup or a store refers to are not in the payload store',
    hint: 'Look for the payloads in copies of the payload store; restore or remove files whose payload is lost',
  },
  sweep_already_running: {
    httpStatus: 409, retryable: true,
    when: 'another sweep with the same catalog is running',
    hint: 'Wait for the running sweep to end, or stop it',
  },
  entry_not_found: { httpStatus: 404, retryable: false, when: 'an entry, inode or share does not exist', hint: 'Check what the message names' },
  entry_exists: { httpStatus: 409, retryable: false, when: 'the name is taken', hint: 'Choose another name or remove the entry first' },
  not_a_directory: { httpStatus: 409, retryable: false, when: 'a directory is needed', hint: 'Name a directory' },
  is_a_directory: { httpStatus: 409, retryable: false, when: 'a file is needed', hint: 'Name a file' },
  directory_not_empty: {
    httpStatus: 409, retryable: false,
    when: 'the directory still holds entries',
    hint: 'Remove what is in the directory first',
  },
  lock_conflict: { httpStatus: 423, retryable: true, when: "another owner's lock overlaps", hint: 'Wait for the other lock to be released' },
  record_invalid: {
    httpStatus: 422, retryable: false,
    when: 'a stored record cannot be decoded; a backup fails rather than skip the record',
    hint: 'Repair or remove the record, then back up again',
  },
  store_inconsistent: {
    httpStatus: 422, retryable: false,
    when: 'a store breaks a rule of the tree, or contradicts itself about which payloads it refers to; its backup or restore fails',
    hint: 'Repair the store or restore an earlier backup, and delete no payloads until then; nothing was published or swapped in',
  },
  invalid_argument: {
    httpStatus: 400, retryable: false,
    when: 'input from outside (an ID, a URL, a name) breaks its rules',
    hint: 'Correct the argument named in the message',
  },
  internal: {
    httpStatus: 500, retryable: false,
    when: 'Holdfast reaches a state that should be impossible, or a part of another maker breaks its contract',
    hint: 'Report this fault of Holdfast with the code and the message',
  },
}
