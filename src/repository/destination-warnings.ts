/** Reads the warnings of a destination. */
import type { Destination } from '../contracts/destination.ts'

/** What the destination warned of since the last time, as errors that have the code. */
export function destinationWarnings(destination: Destination): Error[] {
  return (destination.takeWarnings?.() ?? []).map(({ code, message }) => Object.assign(new Error(message), { code }))
}
