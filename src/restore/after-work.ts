/** Cleaning up after work, whatever came of it. */
import { messageOf } from '../errors/error-message.ts'
import { CombinedError } from '../errors/errors.ts'

export interface CleanUp {
  readonly cleanUp: () => Promise<void>
  /** What is left when that fails: "the trial store could not be removed". */
  readonly left: string
  /** Takes that failure after a success. */
  readonly warnings: Error[]
}

/** Runs a task, then the clean-up. Where both fail, the error says both; where only the clean-up does, it is a warning. */
export async function cleanedUp<T>(run: () => Promise<T>, { cleanUp, left, warnings }: CleanUp): Promise<T> {
  let result: T
  try {
    result = await run()
  } catch (error) {
    try {
      await cleanUp()
    } catch (cleaning) {
      throw new CombinedError(`${messageOf(error)}; ${left}: ${messageOf(cleaning)}`, [error, cleaning])
    }
    throw error
  }
  try {
    await cleanUp()
  } catch (cleaning) {
    warnings.push(new Error(`${left.charAt(0).toUpperCase()}${left.slice(1)}: ${messageOf(cleaning)}`, { cause: cleaning }))
  }
  return result
}
