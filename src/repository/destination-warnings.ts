/** Reads the warnings of a destination. */
import type { Destination } from '../contracts/destination.ts'
import { toError } from '../errors/error-message.ts'

/** What the destination warned of since the last time, as errors that have the code. Never throws: the work that they are of is done. */
export function destinationWarnings(destination: Destination): Error[] {
  try {
    return (destination.takeWarnings?.() ?? []).map(({ code, message }) => Object.assign(new Error(message), { code }))
  } catch (error) {
    return [toError(error)]
  }
}
