/** Cleans up after work without losing an error: the failure of the work comes first, that of the clean-up follows. */
import { messageOf, toError } from './error-message.ts'
import { CombinedError } from './errors.ts'

const CLEANING_FAILED = 'and cleaning up after it failed'

/** Cleans up after a failure and resolves with the error to throw: the failure, or, if the clean-up failed too, both in one error.
 * `left` tells the operator what remains, such as "the trial store could not be removed".
 */
export async function failureAfter(error: unknown, undo: () => Promise<unknown> | undefined, left: string = CLEANING_FAILED): Promise<unknown> {
  try {
    await undo()
    return error
  } catch (undoing) {
    return new CombinedError(`${messageOf(error)}; ${left}: ${messageOf(undoing)}`, [error, undoing])
  }
}

/** Does work, and undoes it when it fails. Rejects as `failureAfter` says. */
export async function undoOnError<T>(work: () => Promise<T>, undo: () => Promise<unknown> | undefined, left?: string): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw await failureAfter(error, undo, left)
  }
}

export interface AfterwardsOptions {
  /** What remains when `always` fails. */
  readonly left?: string | undefined
  /** Collects the failure of `always` after successful work. @default the call rejects with it */
  readonly warnings?: Error[] | undefined
}

/** Does work, then `always`, whether or not the work succeeded. Rejects as `failureAfter` says. */
export async function afterwards<T>(
  work: () => Promise<T>,
  always: () => Promise<unknown> | undefined,
  { left, warnings }: AfterwardsOptions = {},
): Promise<T> {
  const result = await undoOnError(work, always, left)
  try {
    await always()
  } catch (error) {
    if (warnings === undefined) throw error
    warnings.push(left === undefined ? toError(error) : new Error(`${left.charAt(0).toUpperCase()}${left.slice(1)}: ${messageOf(error)}`, { cause: error }))
  }
  return result
}

/** Calls `use` with a resource, and closes it afterwards. */
export async function closing<Resource extends { close(): Promise<void> }, T>(resource: Resource, use: (resource: Resource) => Promise<T>): Promise<T> {
  return await afterwards(() => use(resource), () => resource.close())
}
