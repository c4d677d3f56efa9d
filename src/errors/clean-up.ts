/** Cleaning up without losing an error. */
import { messageOf } from './error-message.ts'
import { CombinedError } from './errors.ts'

/** Cleans up after an error and throws it, together with what goes wrong then. */
export async function andAlso(error: unknown, cleanUp: () => Promise<void>): Promise<never> {
  try {
    await cleanUp()
  } catch (cleaning) {
    throw new CombinedError(`${messageOf(error)}; and cleaning up after it failed: ${messageOf(cleaning)}`, [error, cleaning])
  }
  throw error
}

/** Calls `use` with a resource, and closes it whatever happens. Rejects with both errors when both fail. */
export async function closing<Resource extends { close(): Promise<void> }, T>(resource: Resource, use: (resource: Resource) => Promise<T>): Promise<T> {
  const result = await use(resource).catch((error: unknown) => andAlso(error, () => resource.close()))
  await resource.close()
  return result
}
