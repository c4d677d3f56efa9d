/** The exit codes of the command line. */
import type { ErrorCode } from '../index.ts'

export const EXIT = { done: 0, failed: 1, usage: 2, corrupt: 3, refused: 4, hungUp: 129, interrupted: 130, terminated: 143 } as const

/** What each exit code means, for the help and the documentation. */
export const EXIT_MEANINGS: Readonly<Record<keyof typeof EXIT, string>> = {
  done: 'done',
  failed: 'failed',
  usage: 'the command line is wrong',
  corrupt: 'something stored is corrupt, or failed verification',
  refused: 'refused by a precondition, such as other work with the store; nothing was changed',
  hungUp: 'ended cleanly because its terminal was closed',
  interrupted: 'interrupted by Ctrl-C',
  terminated: 'ended by SIGTERM, cleanly',
}

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** The exit code for an error code. */
export function exitCodeFor(code: ErrorCode): ExitCode {
  switch (code) {
    case 'invalid_argument':
    case 'destination_config_invalid':
      return EXIT.usage
    case 'restore_corrupt':
    case 'manifest_invalid':
    case 'backup_incomplete':
    case 'checksum_mismatch':
    case 'backup_altered':
    case 'record_invalid':
    case 'store_inconsistent':
    case 'payload_missing':
      return EXIT.corrupt
    case 'restore_destination_not_empty':
    case 'schema_version_mismatch':
    case 'manifest_version_unsupported':
    case 'manifest_feature_unsupported':
    case 'duplicate_backup_id':
    case 'store_kind_mismatch':
    case 'store_id_mismatch':
    case 'store_not_drained':
    case 'restore_in_progress':
    case 'restore_plan_stale':
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
