/** The code of an error of the file system, and what to do about it. */
import { constants } from 'node:os'
import type { ErrorCode } from './error-codes.ts'

export interface SystemErrorKind {
  readonly code: ErrorCode
  /** @default the hint of the code */
  readonly hint?: string | undefined
}

/** What to do about a handle that was closed: nothing is wrong with what it led to. */
export const CLOSED_HINT = 'Use the handle before it is closed, or open another one'
/** What to do about a disk that is full, other than that of a destination. */
export const NO_SPACE_HINT = 'Free space on that file system, then try again'
const NO_SPACE: SystemErrorKind = { code: 'destination_no_space', hint: NO_SPACE_HINT }
const DENIED: SystemErrorKind = { code: 'destination_permission_denied', hint: 'Give the process permission to use that path' }
const IN_THE_WAY: SystemErrorKind = { code: 'destination_path_conflict' }
const OTHER: SystemErrorKind = { code: 'destination_unreachable', hint: 'The file system reports this error; check the disk and the path' }

const KINDS: Readonly<Record<string, SystemErrorKind>> = {
  ENOSPC: NO_SPACE,
  EDQUOT: NO_SPACE,
  EFBIG: NO_SPACE,
  EACCES: DENIED,
  EPERM: DENIED,
  EROFS: { code: 'destination_permission_denied', hint: 'Mount the file system for writing, or use a path on another one' },
  ENOENT: { code: 'entry_not_found', hint: 'Check the path' },
  ENOTDIR: { code: 'not_a_directory' },
  EEXIST: IN_THE_WAY,
  ELOOP: IN_THE_WAY,
  EISDIR: IN_THE_WAY,
  ENOTEMPTY: IN_THE_WAY,
}

/** The code of an error of a system call. Node has no names for some, such as EDQUOT and ESTALE: they are found by their numbers. */
export function systemCodeOf(error: Error): string | undefined {
  const { code, errno } = error as NodeJS.ErrnoException
  if (errno === undefined || code?.startsWith('Unknown system error') !== true) return code
  return Object.entries(constants.errno).find(([, number]) => number === -errno)?.[0] ?? code
}

/** What an error of a system call is; `undefined` for any other error. */
export function systemErrorKind(error: unknown): SystemErrorKind | undefined {
  if (!(error instanceof Error) || !('code' in error) || !('syscall' in error) || typeof error.syscall !== 'string') return undefined
  return KINDS[systemCodeOf(error) ?? ''] ?? OTHER
}
