/** Converts errors of the file system to Holdfast's own, with a code, a sentence and a hint. */
import { messageOf } from '../errors/error-message.ts'
import {
  DestinationNoSpaceError, DestinationPathConflictError, DestinationPermissionDeniedError, DestinationUnreachableError, type HoldfastError,
  InternalError, isHoldfastError, MetadataError,
} from '../errors/errors.ts'
import { isSystemError } from './files.ts'

/**
 * Converts the error of an `action`, such as `read "/srv/a"`. Holdfast's own errors are returned unchanged, file system errors get the
 * nearest code, anything else is `internal`.
 */
export function asHoldfastError(error: unknown, action?: string): HoldfastError {
  if (isHoldfastError(error)) return error
  if (!isSystemError(error) || error.syscall === undefined) return new InternalError(`Cannot go on: ${messageOf(error)}`, { cause: error })
  const path = error.path === undefined ? '' : ` ${JSON.stringify(error.path)}`
  const message = `Cannot ${action ?? `${error.syscall}${path}`}: ${reasonOf(error)}`
  switch (error.code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new DestinationNoSpaceError(message, { cause: error, hint: 'Free space on that file system, then try again' })
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new DestinationPermissionDeniedError(message, { cause: error, hint: 'Give the process permission to use that path' })
    case 'ENOENT':
      return new MetadataError('entry_not_found', message, { cause: error, hint: 'Check the path' })
    case 'ENOTDIR':
      return new MetadataError('not_a_directory', message, { cause: error })
    case 'EEXIST':
    case 'ELOOP':
    case 'EISDIR':
    case 'ENOTEMPTY':
      return new DestinationPathConflictError(message, { cause: error })
    default:
      return new DestinationUnreachableError(message, { cause: error, hint: 'The file system reports this error; check the disk and the path' })
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EDQUOT: 'the quota is used up',
  EEXIST: 'something is there already',
  EIO: 'input or output error',
  EISDIR: 'it is a directory',
  ELOOP: 'it is a symbolic link',
  EMFILE: 'too many open files',
  ENAMETOOLONG: 'the name is too long',
  ENOENT: 'there is no such file or directory',
  ENOSPC: 'no space is left',
  ENOTDIR: 'it is not a directory',
  ENOTEMPTY: 'the directory is not empty',
  EPERM: 'operation not permitted',
  EROFS: 'the file system is read-only',
}

function reasonOf(error: NodeJS.ErrnoException): string {
  const code = error.code ?? ''
  const reason = REASONS[code]
  return reason === undefined ? error.message : `${reason} (${code})`
}
