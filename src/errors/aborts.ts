/**
 * Recognizes failures that an aborted signal caused. Inner code rejects with the signal's reason; a public entrance that promises
 * `backup_aborted` converts the reason here. What makes `backup_aborted` itself is passed on as it is: a store of another maker, and work
 * that must say what the abort left: a store that did not end, a backup that is listed, a database that is filled.
 */
import { BackupAbortedError, CombinedError, type HoldfastErrorOptions, isHoldfastError } from './errors.ts'

export interface AbortText extends Pick<HoldfastErrorOptions, 'hint' | 'details'> {
  /** What was cancelled: "The restore was cancelled". */
  readonly message: string
}

/**
 * Whether an aborted signal caused a failure: its reason, Node's `AbortError`, `backup_aborted`, or one of these combined with failed
 * clean-up.
 */
export function isAbort(error: unknown, signal: AbortSignal | undefined): boolean {
  if (signal?.aborted !== true) return false
  const first = firstOf(error)
  return first === signal.reason || (first instanceof Error && first.name === 'AbortError') || isAborted(first)
}

/** Converts a failure that the signal caused to `backup_aborted`, with the reason as its cause. Returns any other failure unchanged. */
export function toAborted(error: unknown, signal: AbortSignal | undefined, { message, hint, details }: AbortText): unknown {
  if (signal === undefined || !isAbort(error, signal)) return error
  if (isAborted(error) && error !== signal.reason) return error
  // A reason with that code, such as a command's interrupt, has its own message and hint.
  const reason: unknown = signal.reason
  const told = isAborted(reason) ? reason : undefined
  const text = told?.message ?? message
  const combined = error instanceof CombinedError ? error : undefined
  const left = combined === undefined ? '' : `: ${combined.message}`
  const all = { ...told?.details, ...combined?.details, ...details }
  return new BackupAbortedError(`${text}${left}`, { cause: combined ?? reason, hint: told?.hint ?? hint, details: all })
}

/** Converts what a store of another maker rejects with on abort to the signal's reason. Returns other and combined failures unchanged. */
export function toReason(error: unknown, signal: AbortSignal | undefined): unknown {
  return isAbort(error, signal) && !(error instanceof CombinedError) ? signal?.reason : error
}

function isAborted(error: unknown): error is BackupAbortedError {
  return isHoldfastError(error) && error.code === 'backup_aborted'
}

/** The first of combined failures. */
function firstOf(error: unknown): unknown {
  return error instanceof CombinedError && error.cause instanceof AggregateError ? firstOf(error.cause.errors[0]) : error
}
