/** The codes of errors, and what is true of each. */

/** What is true of every error of a code, unless the error says otherwise. */
export interface ErrorTraits {
  readonly httpStatus: number
  /** Whether the same call may succeed later. */
  readonly retryable: boolean
  /** When it is thrown, as the end of a sentence. */
  readonly when: string
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
  'manifest_feature_unsupported',
  'manifest_invalid',
  'backup_incomplete',
  'checksum_mismatch',
  'backup_altered',
  'duplicate_backup_id',
  'store_kind_mismatch',
  'store_id_mismatch',
  'store_not_drained',
  'store_unavailable',
  'restore_in_progress',
  'restore_plan_stale',
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
  backup_aborted: { httpStatus: 499, retryable: true, when: 'a backup was cancelled by its signal; nothing was published', hint: 'Nothing was published; start the backup again when it suits' },
  backup_unsupported: { httpStatus: 501, retryable: false, when: 'a store, or the running Node, lacks a capability that the call needs', hint: 'Use a store or a runtime that has the capability named in the message' },
  restore_corrupt: { httpStatus: 422, retryable: false, when: 'a snapshot stream is not whole: damaged, truncated, out of order, or followed by more bytes', hint: 'The target was left empty; restore another backup, or run "holdfast verify" to see what is damaged' },
  restore_destination_not_empty: { httpStatus: 409, retryable: false, when: 'a restore or a conversion finds its target populated; nothing was read and nothing changed', hint: 'Restore into an empty store, or use the orchestrated restore, which swaps the store in' },
  schema_version_mismatch: { httpStatus: 409, retryable: false, when: "a snapshot's format or schema version is not the one this store reads; both are named", hint: 'Restore with the version of the server that wrote the backup, then upgrade' },
  manifest_missing: { httpStatus: 404, retryable: false, when: 'a destination has no manifest of that ID: the backup was never published, or was deleted', hint: 'Run "holdfast list" to see which backups the destination has' },
  manifest_version_unsupported: { httpStatus: 422, retryable: false, when: 'a manifest is of a version this release does not read', hint: 'Use a newer version of Holdfast to read this backup' },
  manifest_feature_unsupported: { httpStatus: 422, retryable: false, when: 'a manifest requires a feature that this release does not have; the backup may be whole', hint: 'Use a release of Holdfast that has the feature named in the message' },
  manifest_invalid: { httpStatus: 422, retryable: false, when: 'a manifest is too large, is not JSON, or breaks the rules of its version', hint: 'Do not trust this backup; restore another one' },
  backup_incomplete: { httpStatus: 422, retryable: false, when: 'an object that the manifest names is missing or has another size', hint: 'Objects of this backup are missing or cut short; restore another one' },
  checksum_mismatch: { httpStatus: 422, retryable: false, when: "stored bytes, or what was restored from them, differ from the manifest's digest, count or set, or the copy of a store from its source", hint: 'The stored bytes are not those that were written; restore another backup and check the storage' },
  backup_altered: { httpStatus: 422, retryable: false, when: 'a backup is not what the catalog recorded of it: its manifest was replaced or changed since', hint: 'Find out what changed this backup, and restore another one; "holdfast catalog rebuild" records it as it is now, if that is right' },
  duplicate_backup_id: { httpStatus: 409, retryable: false, when: 'a backup of the same ID is already at the destination', hint: 'A backup of this ID exists already and was left as it is; use a fresh ID' },
  store_kind_mismatch: { httpStatus: 409, retryable: false, when: 'a backup was taken from another kind of store', hint: 'Restore into a store of the kind the backup was taken from; "holdfast convert" then copies it into one of another kind' },
  store_id_mismatch: { httpStatus: 409, retryable: false, when: 'a backup was taken from another store than the one it is to replace', hint: 'Check that this is the store you mean; to restore into it all the same, allow it by name (--allow-store-id)' },
  store_not_drained: { httpStatus: 409, retryable: true, when: 'a store is still in use: another process has it open, or operations did not end within the drain window', hint: 'Stop or drain what is using the store, then try again' },
  store_unavailable: { httpStatus: 503, retryable: false, when: 'a metadata store cannot be opened: it is missing, damaged, or out of reach', hint: 'Check the path and the permissions of the metadata store' },
  restore_in_progress: { httpStatus: 503, retryable: true, when: 'a store is being restored: by a second restore, and by writes during the drain window', hint: 'Try again when the restore has ended' },
  restore_plan_stale: { httpStatus: 409, retryable: false, when: 'a restore is to run a plan, and the store is not as it was when the plan was made; nothing was changed', hint: 'Make a new plan, look at what it says, and restore by that' },
  rollback_unavailable: { httpStatus: 409, retryable: false, when: 'a store keeps no previous engine to roll back to', hint: 'There is no kept previous engine; restore a backup instead' },
  backup_already_running: { httpStatus: 409, retryable: true, when: 'a backup of the same store is running already', hint: 'Wait for the running backup to end, or cancel it' },
  backup_protected: { httpStatus: 409, retryable: false, when: 'a backup is not to be deleted: it is the last good one of its store, an unfinished restore names it, or its store holds it (Object Lock)', hint: 'Take a newer backup first; to delete this one all the same, force it by name' },
  destination_unreachable: { httpStatus: 503, retryable: true, when: 'a destination does not answer, or answers with an I/O error', hint: 'Check that the destination is mounted or reachable, then try again' },
  destination_permission_denied: { httpStatus: 403, retryable: false, when: "a destination refuses the process's credentials or permissions", hint: 'Give the process permission to the destination' },
  destination_not_found: { httpStatus: 404, retryable: false, when: 'the root of a destination (directory, bucket) does not exist', hint: 'Create the destination first, or correct its URL' },
  destination_no_space: { httpStatus: 507, retryable: true, when: 'a destination, or the disk a restore writes to, has no space, quota or inodes left', hint: 'Free space at the destination or delete old backups, then try again' },
  destination_config_invalid: { httpStatus: 400, retryable: false, when: "a destination's URL or options cannot be used", hint: 'Correct the destination URL or its options' },
  destination_path_conflict: { httpStatus: 409, retryable: false, when: 'something else stands where a destination keeps its backups: a file, a symbolic link, a foreign directory', hint: 'Remove what stands in the way, or choose another path' },
  catalog_unavailable: { httpStatus: 503, retryable: true, when: 'the catalog cannot be opened, read or written', hint: 'Check that no other process has the catalog open and that its path is writable' },
  hold_unavailable: { httpStatus: 503, retryable: true, when: 'it cannot be told which payloads are held, or a hold cannot be made safe: a source of holds is missing or damaged, or a sweep does not answer', hint: 'Nothing was deleted; make readable what the message names, then try again' },
  payload_missing: { httpStatus: 422, retryable: false, when: 'payloads that a backup or a store refers to are not in the payload store', hint: 'Look for the payloads in copies of the payload store; a file whose payload is lost must be restored from elsewhere or removed' },
  sweep_already_running: { httpStatus: 409, retryable: true, when: 'a sweep of the same holds is running already', hint: 'Wait for the running sweep to end, or stop it' },
  entry_not_found: { httpStatus: 404, retryable: false, when: 'there is no such entry, inode or share', hint: 'Check the path or the inode' },
  entry_exists: { httpStatus: 409, retryable: false, when: 'the name is taken', hint: 'Choose another name or remove the entry first' },
  not_a_directory: { httpStatus: 409, retryable: false, when: 'a directory is needed', hint: 'Name a directory' },
  is_a_directory: { httpStatus: 409, retryable: false, when: 'a file is needed', hint: 'Name a file' },
  directory_not_empty: { httpStatus: 409, retryable: false, when: 'the directory still holds entries', hint: 'Remove what is in the directory first' },
  lock_conflict: { httpStatus: 423, retryable: true, when: "another owner's lock overlaps", hint: 'Wait for the other lock to be released' },
  record_invalid: { httpStatus: 422, retryable: false, when: 'a stored record cannot be decoded; a backup fails with it rather than skip the record', hint: 'A stored record cannot be decoded; nothing was skipped. Mend or remove it, then back up again' },
  store_inconsistent: { httpStatus: 422, retryable: false, when: 'a store says in one place that it refers to a payload, and in another that it does not; a backup or a restore of it fails', hint: 'Nothing was published or swapped in; delete no payloads meanwhile, and mend the store or restore an earlier backup' },
  invalid_argument: { httpStatus: 400, retryable: false, when: 'input from outside (an ID, a URL, a name) breaks its rules', hint: 'Correct the argument named in the message' },
  internal: { httpStatus: 500, retryable: false, when: 'Holdfast finds itself in a state it rules out', hint: 'This is a fault of Holdfast; report it with the code and the message' },
}
