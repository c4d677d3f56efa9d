/** What the process says to the shell. */
import type { ErrorCode } from '../errors/errors.ts'

export const EXIT = {
  done: 0,
  /** The command could not do its work. */
  failed: 1,
  /** The command line is wrong: an option, a URL, an ID. */
  usage: 2,
  /** What is stored is damaged, or did not pass verification. */
  corrupt: 3,
  /** Refused, because the state of things does not allow it; nothing was changed. */
  refused: 4,
  /** Ended by Ctrl-C. */
  interrupted: 130,
  /** Ended by SIGTERM. */
  terminated: 143,
} as const

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** The exit code for an error code. */
export function exitCodeFor(code: ErrorCode): ExitCode {
  switch (code) {
    case 'invalid_argument':
    case 'destination_config_invalid':
      return EXIT.usage
    case 'restore_corrupt':
    case 'manifest_version_unsupported':
    case 'manifest_invalid':
    case 'backup_incomplete':
    case 'checksum_mismatch':
    case 'record_invalid':
    case 'store_inconsistent':
    case 'payload_missing':
      return EXIT.corrupt
    case 'restore_destination_not_empty':
    case 'schema_version_mismatch':
    case 'duplicate_backup_id':
    case 'store_kind_mismatch':
    case 'store_id_mismatch':
    case 'store_not_drained':
    case 'restore_in_progress':
    case 'rollback_unavailable':
    case 'backup_already_running':
    case 'backup_protected':
    case 'sweep_already_running':
    case 'destination_path_conflict':
    case 'entry_exists':
    case 'directory_not_empty':
    case 'lock_conflict':
      return EXIT.refused
    case 'backup_aborted':
    case 'backup_unsupported':
    case 'manifest_missing':
    case 'store_unavailable':
    case 'destination_unreachable':
    case 'destination_permission_denied':
    case 'destination_not_found':
    case 'destination_no_space':
    case 'catalog_unavailable':
    case 'hold_unavailable':
    case 'entry_not_found':
    case 'not_a_directory':
    case 'is_a_directory':
    case 'internal':
      return EXIT.failed
    default:
      return code satisfies never
  }
}
