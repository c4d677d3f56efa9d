/** What an error of the file system means for a destination. */
import {
  DestinationConfigInvalidError,
  DestinationNoSpaceError,
  DestinationNotFoundError,
  DestinationPathConflictError,
  DestinationPermissionDeniedError,
  DestinationUnreachableError,
  type HoldfastError,
  type HoldfastErrorOptions,
} from '../../src/errors/errors.ts'
import { isSystemError } from '../../src/util/files.ts'

type ErrorClass = new (message: string, options?: HoldfastErrorOptions) => HoldfastError

/** What is not named here is `destination_unreachable`: EIO, ESTALE, ETIMEDOUT, EMFILE, ENFILE, EAGAIN, EBUSY and all others. */
const CLASS_BY_SYSTEM_CODE: Readonly<Record<string, ErrorClass>> = {
  ENOSPC: DestinationNoSpaceError,
  EDQUOT: DestinationNoSpaceError,
  EFBIG: DestinationNoSpaceError,
  EACCES: DestinationPermissionDeniedError,
  EPERM: DestinationPermissionDeniedError,
  EROFS: DestinationPermissionDeniedError,
  ENOENT: DestinationNotFoundError,
  ELOOP: DestinationPathConflictError,
  ENOTDIR: DestinationPathConflictError,
  EISDIR: DestinationPathConflictError,
  EEXIST: DestinationPathConflictError,
  ENOTEMPTY: DestinationPathConflictError,
  EINVAL: DestinationPathConflictError,
  ENXIO: DestinationPathConflictError,
  ENAMETOOLONG: DestinationConfigInvalidError,
}

/** Runs one operation on a path; an error of the file system becomes the destination's, naming both. */
export async function onPath<T>(operation: string, path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    throw pathError(operation, path, error)
  }
}

/** The destination's error for what the file system said; any other error stays as it is. */
export function pathError(operation: string, path: string, cause: unknown): unknown {
  if (!isSystemError(cause) || cause.syscall === undefined) return cause
  const systemCode = cause.code ?? 'UNKNOWN'
  const Class = CLASS_BY_SYSTEM_CODE[systemCode] ?? DestinationUnreachableError
  return new Class(`Cannot ${operation} "${path}": ${cause.syscall} failed with ${systemCode}`, {
    cause,
    details: { operation, path, systemCode },
  })
}
