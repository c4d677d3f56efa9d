/** Turns errors of the file system into errors of a destination. */
import {
  DestinationConfigInvalidError, DestinationNoSpaceError, DestinationNotFoundError, DestinationPathConflictError, DestinationPermissionDeniedError,
  DestinationUnreachableError, type HoldfastError, type HoldfastErrorOptions,
} from '../../src/errors/errors.ts'
import { systemCodeOf } from '../../src/errors/system-codes.ts'
import { isSystemError } from '../../src/util/files.ts'

type ErrorClass = new (message: string, options?: HoldfastErrorOptions) => HoldfastError

/** The error class of a system code. All others, such as EIO, ESTALE, EMFILE and EBUSY, are `destination_unreachable`. */
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

/** Runs one operation on a path. An error of the file system becomes one of the destination, which names both. */
export async function onPath<T>(operation: string, path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    throw pathError(operation, path, error)
  }
}

/** Turns an error of the file system into one of the destination. Returns any other error unchanged. */
export function pathError(operation: string, path: string, cause: unknown): unknown {
  if (!isSystemError(cause) || cause.syscall === undefined) return cause
  const systemCode = systemCodeOf(cause) ?? 'UNKNOWN'
  const Class = CLASS_BY_SYSTEM_CODE[systemCode] ?? DestinationUnreachableError
  return new Class(`Cannot ${operation} "${path}": ${cause.syscall} failed with ${systemCode}`, {
    cause,
    details: { operation, path, systemCode },
  })
}
