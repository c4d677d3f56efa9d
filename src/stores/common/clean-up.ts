/** Cleaning up after a failure without losing either error. */
import { CombinedError } from '../../errors.ts'

/** Cleans up after an error and throws it, together with what goes wrong then. */
export async function andAlso(error: unknown, cleanUp: () => Promise<void>): Promise<never> {
  try {
    await cleanUp()
  } catch (cleaning) {
    throw new CombinedError(`${messageOf(error)}; and cleaning up after it failed: ${messageOf(cleaning)}`, [error, cleaning])
  }
  throw error
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
