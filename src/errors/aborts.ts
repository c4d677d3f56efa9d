/**
 * What a signal ended. Everything below the public entrances rejects with the signal's own reason; an entrance that promises `backup_aborted` makes it of
 * that, here. Stores of others may still throw `backup_aborted` themselves.
 */
import { messageOf } from './error-message.ts'
import { BackupAbortedError, CombinedError, type HoldfastErrorOptions, isHoldfastError } from './errors.ts'

export interface AbortText extends Pick<HoldfastErrorOptions, 'hint' | 'details'> {
  /** What was cancelled: "The restore was cancelled". */
  readonly message: string
}

/** Whether a failure came of a signal that aborted: its reason, what Node makes of it, `backup_aborted`, or one of these with what cleaning up failed with. */
export function isAbort(error: unknown, signal: AbortSignal | undefined): boolean {
  if (signal?.aborted !== true) return false
  const first = firstOf(error)
  return first === signal.reason || (first instanceof Error && first.name === 'AbortError') || isAborted(first)
}

/** Makes `backup_aborted` of a failure that came of the signal, whose reason is its cause; any other failure stays as it is. */
export function toAborted(error: unknown, signal: AbortSignal | undefined, { message, hint, details }: AbortText): unknown {
  if (signal === undefined || !isAbort(error, signal)) return error
  if (isAborted(error) && error !== signal.reason) return error
  // A reason of that code says itself what was cancelled, such as the interrupt of a command.
  const reason: unknown = signal.reason
  const told = isAborted(reason) ? reason : undefined
  const text = told?.message ?? message
  const left = error instanceof CombinedError ? `: ${messageOf(error)}` : ''
  return new BackupAbortedError(`${text}${left}`, { cause: left === '' ? reason : error, hint: told?.hint ?? hint, details: { ...told?.details, ...details } })
}

/** Makes the signal's reason of what stores of others reject with when it aborts; any other failure, and one that left something, stays as it is. */
export function toReason(error: unknown, signal: AbortSignal | undefined): unknown {
  return isAbort(error, signal) && !(error instanceof CombinedError) ? signal?.reason : error
}

function isAborted(error: unknown): error is BackupAbortedError {
  return isHoldfastError(error) && error.code === 'backup_aborted'
}

/** The failure that others were told with. */
function firstOf(error: unknown): unknown {
  return error instanceof CombinedError && error.cause instanceof AggregateError ? firstOf(error.cause.errors[0]) : error
}
