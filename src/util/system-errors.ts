/** Converts errors of the file system to Holdfast's own, with a code, a sentence and a hint. */
import { messageOf } from '../errors/error-message.ts'
import { errorOf } from '../errors/error-transfer.ts'
import { type HoldfastError, InternalError, isHoldfastError, MetadataError } from '../errors/errors.ts'
import { systemCodeOf, systemErrorKind } from '../errors/system-codes.ts'

/**
 * Converts the error of an `action`, such as `read "/srv/a"`. Holdfast's own errors are returned unchanged, file system errors get the
 * nearest code, anything else is `internal`.
 */
export function asHoldfastError(error: unknown, action?: string): HoldfastError {
  if (isHoldfastError(error)) return error
  const kind = systemErrorKind(error)
  if (kind === undefined) return new InternalError(`Cannot go on: ${messageOf(error)}`, { cause: error })
  const { syscall, path, message } = error as NodeJS.ErrnoException
  const code = systemCodeOf(error as Error)
  if (syscall === 'uv_cwd') {
    return new MetadataError('entry_not_found', 'Cannot go on: the working directory was removed', {
      cause: error,
      hint: 'Change to a directory that is there, then run the command again',
    })
  }
  const place = path === undefined ? '' : ` ${JSON.stringify(path)}`
  const reason = REASONS[code ?? '']
  return errorOf(kind.code, `Cannot ${action ?? `${syscall}${place}`}: ${reason === undefined ? message : `${reason} (${code})`}`, {
    cause: error,
    hint: kind.hint,
  })
}

/** Runs one action, such as `read "/srv/a"`. An error of the file system becomes one that names the action. */
export async function inAction<T>(action: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    throw systemErrorKind(error) === undefined ? error : asHoldfastError(error, action)
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EDQUOT: 'the quota is used up',
  EFBIG: 'the file would be larger than the file system or a limit allows',
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
  ESTALE: 'the server of the file system does not know the file any more',
}
