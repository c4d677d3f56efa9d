/** Callbacks of callers that are only told something, such as `onProgress`. */
import { messageOf } from '../errors/error-message.ts'

/**
 * Wraps a callback that nothing waits for. What it throws ends the work that calls it. So does what a promise that it returns rejects with,
 * at the next call; as there may be no next call, the process is warned too. Left alone, the rejection would end the process.
 */
export function listener<Told extends readonly unknown[]>(callback: (...told: Told) => unknown): (...told: Told) => void
export function listener<Told extends readonly unknown[]>(callback: ((...told: Told) => unknown) | undefined): ((...told: Told) => void) | undefined
export function listener<Told extends readonly unknown[]>(callback: ((...told: Told) => unknown) | undefined): ((...told: Told) => void) | undefined {
  if (callback === undefined) return undefined
  let failure: { readonly error: unknown } | undefined
  return (...told) => {
    if (failure !== undefined) throw failure.error
    const result = callback(...told)
    if (typeof result !== 'object' || result === null || !('then' in result)) return
    Promise.resolve(result).catch((error: unknown) => {
      failure ??= { error }
      warnOfCallback(error)
    })
  }
}

/** Warns the process of the failure of a callback that can end no work any more. */
export function warnOfCallback(error: unknown): void {
  process.emitWarning(`A callback that Holdfast called failed: ${messageOf(error)}`)
}
